"""From a configuration or a name to a network: every architecture in one explicit dict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from mots_pretrained.adaptation.backbones import BACKBONES
from mots_pretrained.adaptation.ensemble import Ensemble
from mots_pretrained.adaptation.extended import ExtendedNetwork, add_file
from mots_pretrained.adaptation.input_channels import ChannelInit, check_channel_init
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.images.make_input import MakeInput
from mots_pretrained.methods import METHODS
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.model.levels import FeatureNet
from mots_pretrained.model.pretrained import Pretrained
from mots_pretrained.published.conference import ConferenceDoDNet, conference_defaults
from mots_pretrained.weights.checkpoint import (
    fold_folders,
    load_config,
    load_folder,
    network_folders,
)
from mots_pretrained.weights.download import resolve
from mots_pretrained.weights.unfinished import warn_if_unfinished

ARCHITECTURES: dict[str, type[Pretrained]] = {
    **METHODS,
    "dodnet_conference": ConferenceDoDNet,
    "backbone": MOTSBackbone,
    "segmenter": Segmenter,
}
"""Class by the architecture that a config.json names; a backbone alone is one of BACKBONES."""


UNPUBLISHED: dict[str, ModelConfig] = {
    "transdodnet.mots": ModelConfig(),
    "dodnet.mots": ModelConfig(architecture="dodnet", transformer=None),
    "dodnet.mots_conference": conference_defaults(),
}
"""Configuration by the catalogue's name, where the weights are not ours to ship."""


def build(config: ModelConfig) -> Pretrained:
    """Build the network that a configuration describes, with random weights.

    Example:
        >>> net = build(ModelConfig())
        >>> sum(p.numel() for p in net.parameters())
        39049941
    """
    return _class_of(config)(config)


def load(
    name: str | Path,
    *,
    add: str | Path | Sequence[str | Path] = (),
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> Pretrained:
    """Load whatever network a name, folder or hub repository holds, strictly, in evaluation mode.

    Args:
        name: Catalogue name such as ``"transdodnet.phantom"``, a folder, or ``"org/repo"``; one
            of folds, as ``mots finetune --folds`` leaves it, gives their ensemble.
        add: Files, or Hub repositories, of organs that were learned on these weights, as
            ``mots finetune --add-to`` leaves them; one or several.
        revision: Git revision of a hub repository.
        cache_dir: Where downloads are kept.
        token: Token for gated repositories.
        local_files_only: Never go to the network.

    Raises:
        KeyError: If the name is unknown.
        ValueError: If what is found does not fit.

    Warns:
        UserWarning: If the training was stopped: folds are missing, or steps.
    """
    folder = resolve(
        name,
        revision=revision,
        cache_dir=cache_dir,
        token=token,
        local_files_only=local_files_only,
    )
    if fold_folders(folder):
        if add:
            raise UserError(f"{name} holds folds; organs are added to a network with tasks")
        return Ensemble.from_folder(folder)
    warn_if_unfinished(folder)
    network = from_state(*load_folder(folder))
    for path in [add] if isinstance(add, str | Path) else add:
        network = add_file(
            network, path, cache_dir=cache_dir, token=token, local_files_only=local_files_only
        )
    return network


def create_model(
    name: str | Path,
    pretrained: bool = False,
    *,
    in_chans: int | None = None,
    num_classes: int | None = None,
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
    channel_init: ChannelInit = "random",
) -> Pretrained | FeatureNet:
    """Make a network by name as timm does: whole, with a new head, or for its feature maps.

    Args:
        name: As :func:`load` takes it.
        pretrained: Load the weights; else the same network with random ones.
        in_chans: Input channels; the network's own by default. They need a new head, or none.
        num_classes: Output channels of a new head on the backbone, the background included; 0
            gives the backbone alone. By default the network is whole, with its own outputs.
        features_only: Return a list of feature maps, as :class:`FeatureNet`; no head is made.
        out_indices: Which maps, by their numbers in ``feature_info``; the encoder's five by
            default.
        channel_init: How pretrained weights take more channels; see
            :func:`~mots_pretrained.adaptation.input_channels.widen_input`.

    Returns:
        The network; in evaluation mode where weights were loaded.

    Raises:
        KeyError: If the name is unknown.
        ValueError: If the arguments contradict each other.

    Example:
        >>> net = create_model("transdodnet.phantom", True, features_only=True, out_indices=(0, 2))
        >>> net.feature_info.strides()
        [(1, 2, 2), (4, 8, 8)]
        >>> create_model("transdodnet.phantom", in_chans=4, num_classes=3).num_classes
        3
    """
    check_channel_init(channel_init)
    if out_indices is not None and not features_only:
        raise UserError("out_indices choose feature maps; give features_only=True too")
    if num_classes is None and not features_only:
        if in_chans is not None:
            raise UserError("in_chans changes what the network was trained on; give num_classes")
        return load(name) if pretrained else build(config_named(name).untrained)
    out_channels, in_channels = num_classes if num_classes and not features_only else 2, in_chans
    if pretrained:
        model = Segmenter.from_pretrained(
            name, out_channels, in_channels=in_channels, channel_init=channel_init
        )
    else:
        model = Segmenter.from_scratch(config_named(name), out_channels, in_channels=in_channels)
    if features_only:
        return FeatureNet(model.backbone, out_indices).train(not pretrained)
    return model if num_classes else model.backbone


def get_preprocessing(model: str | Path | Pretrained | FeatureNet) -> MakeInput:
    """Return what makes a network's input of a scan, as segmentation_models.pytorch does.

    Args:
        model: A name as :func:`load` takes it, or a network.

    Example:
        >>> prepare = get_preprocessing("transdodnet.phantom")
        >>> prepare.contract.spacing
        (4.0, 3.0, 3.0)
        >>> logits = net(prepare("ct.nii.gz")[None])  # doctest: +SKIP
    """
    config = config_named(model) if isinstance(model, str | Path) else model.config
    return MakeInput(config.preprocessing)


def config_named(name: str | Path) -> ModelConfig:
    """Return the configuration of the network that :func:`load` gives.

    That of UNPUBLISHED stands in for weights that are not here.

    Raises:
        KeyError: If the name is unknown.
    """
    try:
        folder = resolve(name)
    except UnknownNameError:
        if str(name) not in UNPUBLISHED:
            raise
        return UNPUBLISHED[str(name)]
    return load_config(network_folders(folder)[0])


def from_state(config: ModelConfig, state: dict[str, Tensor]) -> Pretrained:
    """Build the network that a configuration describes around given weights, strictly.

    Raises:
        ValueError: If a weight is missing, unexpected or of another shape.
    """
    return _class_of(config).from_state(config, state)


def _class_of(config: ModelConfig) -> type[Pretrained]:
    if config.added:
        return ExtendedNetwork
    if config.architecture == "backbone":
        return BACKBONES[config.backbone]
    return ARCHITECTURES[config.architecture]
