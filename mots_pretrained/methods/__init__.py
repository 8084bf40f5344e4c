"""Where does the task enter? One file a method of Table 9, over one encoder-decoder."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from mots_pretrained.config import Architecture, DecoderConfig, ModelConfig
from mots_pretrained.errors import UnknownNameError
from mots_pretrained.methods.base import Method
from mots_pretrained.methods.cond_dec import CondDec
from mots_pretrained.methods.cond_input import CondInput
from mots_pretrained.methods.dodnet import DoDNet
from mots_pretrained.methods.multi_head import MultiHead
from mots_pretrained.methods.multi_nets import MultiNets
from mots_pretrained.methods.tal import TAL
from mots_pretrained.methods.transdodnet import TransDoDNet

METHODS: dict[str, type[Method]] = {
    "multi_nets": MultiNets,
    "tal": TAL,
    "multi_head": MultiHead,
    "cond_input": CondInput,
    "cond_dec": CondDec,
    "dodnet": DoDNet,
    "transdodnet": TransDoDNet,
}
"""Method by the name that configurations and the command line use, in Table 9's order."""


def configured(method: str, base: ModelConfig) -> ModelConfig:
    """Return a method's configuration over the encoder-decoder of another one (Sec. 4.4).

    Only TransDoDNet keeps the Transformer; the channels of Multi-Head's decoders are halved. A
    configuration of the method itself keeps its sizes. What holds for the other's weights alone
    (thresholds, volumes, added organs) is left out.

    Raises:
        KeyError: If there is no such method; the message lists those there are.

    Example:
        >>> configured("multi_head", ModelConfig()).decoder.widths
        (128, 128, 64, 32, 16)
    """
    if method not in METHODS:
        raise UnknownNameError(f"unknown method {method!r}; allowed are {', '.join(METHODS)}")
    base = base.untrained
    if base.architecture == method:
        return base
    config = replace(base, architecture=cast(Architecture, method))
    if method != "transdodnet":
        config = replace(config, transformer=None)
    if method == "multi_head":
        a, b, c, d, e = (max(1, width // 2) for width in base.decoder.widths)
        config = replace(config, decoder=DecoderConfig((a, b, c, d, e)))
    return config
