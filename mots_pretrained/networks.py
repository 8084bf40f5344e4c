"""From a configuration or a name to a network: every architecture in one explicit dict."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from mots_pretrained.adaptation.backbones import BACKBONES
from mots_pretrained.adaptation.ensemble import Ensemble, fold_folders
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UnknownNameError
from mots_pretrained.methods import METHODS
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.model.pretrained import Pretrained, load_config_and_state
from mots_pretrained.published.conference_dodnet import ConferenceDoDNet

ARCHITECTURES: dict[str, type[Pretrained]] = {
    **METHODS,
    "dodnet_conference": ConferenceDoDNet,
    "backbone": MOTSBackbone,
    "segmenter": Segmenter,
}
"""Class by the architecture that a config.json names; a backbone alone is one of BACKBONES."""


def build(config: ModelConfig) -> Pretrained:
    """Build the network that a configuration describes, with random weights.

    Raises:
        KeyError: If its architecture has no class.

    Example:
        >>> net = build(ModelConfig())
        >>> sum(p.numel() for p in net.parameters())
        39049941
    """
    return _class_of(config)(config)


def load(
    name: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> Pretrained:
    """Load whatever network a name, folder or hub repository holds, strictly, in evaluation mode.

    Args:
        name: Catalogue name such as ``"transdodnet.phantom"``, a folder, or ``"org/repo"``; a
            folder of folds, as ``mots finetune --folds`` leaves it, gives their ensemble.
        revision: Git revision of a hub repository.
        cache_dir: Where downloads are kept.
        token: Token for gated repositories.
        local_files_only: Never go to the network.

    Raises:
        KeyError: If the name is unknown.
        ValueError: If what is found does not fit.
    """
    if fold_folders(name):
        return Ensemble.from_folder(name)
    config, state = load_config_and_state(
        name,
        revision=revision,
        cache_dir=cache_dir,
        token=token,
        local_files_only=local_files_only,
    )
    return from_state(config, state)


def from_state(config: ModelConfig, state: dict[str, Tensor]) -> Pretrained:
    """Build the network that a configuration describes around given weights, strictly.

    Raises:
        KeyError: If its architecture has no class.
        ValueError: If a weight is missing, unexpected or of another shape.
    """
    return _class_of(config).from_state(config, state)


def _class_of(config: ModelConfig) -> type[Pretrained]:
    if config.architecture == "backbone":
        return BACKBONES[config.backbone]
    try:
        return ARCHITECTURES[config.architecture]
    except KeyError:
        known = ", ".join(ARCHITECTURES)
        raise UnknownNameError(
            f"unknown architecture {config.architecture!r}; known are {known}"
        ) from None
