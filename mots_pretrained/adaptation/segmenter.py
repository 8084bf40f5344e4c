"""Segmenter: the pretrained backbone with a new head for a downstream task (Fig. 5)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mots_pretrained.adaptation.backbones import build_backbone
from mots_pretrained.adaptation.heads import build_head
from mots_pretrained.adaptation.input_channels import (
    ChannelInit,
    check_channel_init,
    widen_input,
)
from mots_pretrained.config import HeadKind, ModelConfig, Preprocessing
from mots_pretrained.errors import UserError
from mots_pretrained.model.pretrained import (
    Pretrained,
    load_config_and_state,
    refuse_adapters,
    sized_for,
)
from mots_pretrained.parse import check_listed
from mots_pretrained.shapes import Image, TaskLogits

_STEM = "backbone.encoder.stem.0.weight"


class Surgery(NamedTuple):
    """What loading did with each weight: names kept as they were, made new, and dropped."""

    kept: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]


class Segmenter(Pretrained):
    """Encoder, Transformer encoder and decoder, followed by a new 1x1x1 convolution.

    Args:
        config: Architecture "segmenter"; ``classes`` and ``exclusive`` say what the channels are.

    Attributes:
        surgery: What was kept, made new and dropped when weights were put in; None before.

    Example:
        >>> model = Segmenter.from_pretrained("transdodnet.phantom", out_channels=14)
        >>> logits = model(image)  # (B, 14, D, H, W)
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.architecture != "segmenter":
            raise UserError(
                f"Segmenter needs architecture 'segmenter', not {config.architecture!r}"
            )
        self.config = config
        self.backbone = build_backbone(config)
        self.head = build_head(config, self.backbone.level_widths, out_channels(config))
        self.surgery: Surgery | None = None
        self._head_is_new = False

    def forward(self, image: Image) -> TaskLogits:
        """Return logits ``(B, out_channels, D, H, W)``; channel 0 is background if exclusive.

        Args:
            image: ``(B, C, D, H, W)`` scaled by the contract; D divides by 16, H and W by 32.
        """
        return self.backbone.upsample(self.head(self.backbone(image)))

    def reset_classifier(
        self, num_classes: int | None = None, *, classes: Sequence[str] | None = None
    ) -> None:
        """Put a new head of the same kind on, where the network is, for other classes.

        Args:
            num_classes: Output channels, the background included if the classes are exclusive.
            classes: Names of the classes without the background; numbered by default.

        Raises:
            ValueError: If neither is given, they contradict, or adapters are on.

        Example:
            >>> model = Segmenter.from_pretrained("transdodnet.phantom", 3)
            >>> model.reset_classifier(14)
            >>> model.num_classes
            14
        """
        refuse_adapters(self, "call merge_lora(network) first")
        names = _class_names(num_classes, classes, self.config.exclusive)
        self.config = dataclasses.replace(
            self.config, classes=names, class_values=(), thresholds={}, seen_volumes=()
        )
        head = build_head(self.config, self.backbone.level_widths, out_channels(self.config))
        like = next(self.parameters())
        self.head = head.to(like.device, like.dtype).train(self.training)
        self.head_is_new = True

    @property
    def head_is_new(self) -> bool:
        """Whether the head is still random on a pretrained backbone.

        The copy that peft trains and loads is not, as soon as it differs from the head below.
        """
        if not self._head_is_new or in_use(self.head) is self.head:
            return self._head_is_new
        before: Any = self.head.original_module
        pairs = zip(in_use(self.head).parameters(), before.parameters(), strict=True)
        return all(torch.equal(now, then) for now, then in pairs)

    @head_is_new.setter
    def head_is_new(self, is_new: bool) -> None:
        self._head_is_new = is_new

    @property
    def num_classes(self) -> int:
        """Output channels, the background included if the classes exclude each other."""
        return out_channels(self.config)

    @classmethod
    def from_pretrained(  # it takes a new head besides
        cls,
        name: str | Path,
        out_channels: int | None = None,
        *,
        in_channels: int | None = None,
        channel_init: ChannelInit = "random",
        classes: Sequence[str] | None = None,
        exclusive: bool = True,
        head: HeadKind = "linear",
        preprocessing: Preprocessing | None = None,
        transformer: bool = True,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | None = None,
        local_files_only: bool = False,
    ) -> Segmenter:
        """Load a segmenter whole, or put a new head on pretrained weights; in evaluation mode.

        Args:
            name: Catalogue name, folder or hub repository, of any network with our backbone.
            out_channels: Channels of the new head, the background included if ``exclusive``;
                None loads a saved segmenter with its own head.
            in_channels: Input channels; by default those of ``preprocessing``, or the weights'
                own. Where they differ from these, and no ``preprocessing`` is given, they are
                z-scored, as MRI needs.
            channel_init: How the first convolution is widened, see
                :func:`~mots_pretrained.adaptation.input_channels.widen_input`; ``"first"`` is the
                paper's way.
            classes: Names of the classes without the background; numbered by default.
            exclusive: Softmax over background and classes; else one sigmoid a class, as for
                BraTS's three nested regions.
            head: ``"linear"``: on the decoder's finest map (Fig. 5); ``"levels"``: one hidden
                layer on the maps of decoder, encoder and Transformer.
            preprocessing: Another contract than the weights' own.
            transformer: Whether to keep the Transformer; see :func:`drop_transformer`.
            revision: Git revision of a hub repository.
            cache_dir: Where downloads are kept.
            token: Token for gated repositories.
            local_files_only: Never go to the network.

        Raises:
            KeyError: If the name is unknown.
            ValueError: If the weights have no such backbone, or the arguments contradict.
        """
        check_channel_init(channel_init)
        config, state = load_config_and_state(
            name,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
        )
        if out_channels is None and classes is None:
            if config.architecture != "segmenter":
                raise UserError(
                    f"{name} holds a {config.architecture}, which has no segmenter's head; "
                    "say out_channels=N to put a new one on"
                )
            given = {
                "in_channels": in_channels is not None,
                "preprocessing": preprocessing is not None,
                "channel_init": channel_init != "random",
                "exclusive": not exclusive,
                "head": head != "linear",
            }
            if any(given.values()):
                told = ", ".join(what for what, is_given in given.items() if is_given)
                raise UserError(
                    f"{name} is loaded whole, with its own input and head; {told} needs a new "
                    "head: give out_channels=N or classes=[...]"
                )
            whole = cls.from_state(config, state)
            whole.surgery = Surgery(kept=tuple(sorted(state)), new=(), dropped=())
            return whole if transformer else drop_transformer(whole)
        with sized_for(state):
            model = cls.from_scratch(
                config,
                out_channels,
                in_channels=in_channels,
                classes=classes,
                exclusive=exclusive,
                head=head,
                preprocessing=preprocessing,
                transformer=transformer,
            )
        return model._receive(state, channel_init).float().eval()

    @classmethod
    def from_scratch(
        cls,
        config: ModelConfig,
        out_channels: int | None = None,
        *,
        in_channels: int | None = None,
        classes: Sequence[str] | None = None,
        exclusive: bool = True,
        head: HeadKind = "linear",
        preprocessing: Preprocessing | None = None,
        transformer: bool = True,
    ) -> Segmenter:
        """Build the same network with random weights: the baseline "training from scratch".

        Args:
            config: Configuration of any network with our backbone.
            out_channels: As in :meth:`from_pretrained`.
            in_channels: As in :meth:`from_pretrained`.
            classes: As in :meth:`from_pretrained`.
            exclusive: As in :meth:`from_pretrained`.
            head: As in :meth:`from_pretrained`.
            preprocessing: As in :meth:`from_pretrained`.
            transformer: As in :meth:`from_pretrained`.
        """
        names = _class_names(out_channels, classes, exclusive)
        contract = preprocessing or config.preprocessing
        channels = len(contract.channels) if in_channels is None else in_channels
        if channels != len(contract.channels) and preprocessing is not None:
            raise UserError(
                f"in_channels is {channels}, but preprocessing names "
                f"{len(contract.channels)} channels ({', '.join(contract.channels)})"
            )
        if channels != len(contract.channels):
            # Several channels are no CT's; MRI has no unit, so its channels are z-scored.
            numbered = tuple(f"channel_{i}" for i in range(channels))
            contract = dataclasses.replace(contract, channels=numbered, intensity="zscore")
        # Other classes in other scans: neither label values, volumes nor thresholds hold for them.
        kept = dataclasses.replace(
            config.untrained, architecture="segmenter", classes=names, class_values=()
        )
        return cls(
            dataclasses.replace(
                kept if transformer else _without_transformer(kept),
                encoder=dataclasses.replace(config.encoder, in_channels=channels),
                exclusive=exclusive,
                new_head=dataclasses.replace(config.new_head, kind=head),
                preprocessing=contract,
            )
        )

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights, see :meth:`Pretrained.load_state_dict`; a head that comes is not new."""
        loaded = super().load_state_dict(state_dict, strict=strict, assign=assign)
        if not any(key.startswith("head.") for key in loaded.missing_keys):
            self.head_is_new = False
        return loaded

    def _receive(self, state: dict[str, Tensor], channel_init: ChannelInit) -> Segmenter:
        """Put pretrained weights into the backbone; the head stays new."""
        if not any(key.startswith("backbone.") for key in state):
            state = {f"backbone.{key}": value for key, value in state.items()}
        own = self.state_dict()
        wanted = {key for key in own if key.startswith("backbone.")}
        kept = {key: value for key, value in state.items() if key in wanted}
        missing = sorted(wanted - set(kept))
        if missing:
            raise UserError(
                f"the weights lack {len(missing)} of the backbone's tensors, "
                f"for example {', '.join(missing[:3])}"
            )
        channels = own[_STEM].shape[1]
        new = sorted(set(own) - wanted)
        if kept[_STEM].shape[1] != channels:
            kept[_STEM] = widen_input(kept[_STEM], channels, channel_init)
            new.append(_STEM)
        wrong = [key for key, value in kept.items() if value.shape != own[key].shape]
        if wrong:
            raise UserError(
                f"{wrong[0]} has shape {tuple(kept[wrong[0]].shape)}, the network needs "
                f"{tuple(own[wrong[0]].shape)}"
            )
        self.load_state_dict(kept, strict=False)
        self.head_is_new = True
        self.surgery = Surgery(
            kept=tuple(sorted(set(kept) - set(new))),
            new=tuple(new),
            dropped=tuple(sorted(set(state) - wanted)),
        )
        return self


def in_use(module: nn.Module) -> nn.Module:
    """Return the module, or the copy of it that peft trains, saves and computes with."""
    if not hasattr(module, "modules_to_save"):
        return module
    wrapper: Any = module
    active = wrapper.active_adapters
    return wrapper.modules_to_save[active[0]] if active else wrapper.original_module


def drop_transformer(segmenter: Segmenter) -> Segmenter:
    """Return a plain U-shaped CNN of a segmenter's weights; the segmenter stays as it is.

    Encoder, decoder and head are kept, and what of them is frozen. The decoder then gets F where
    it was trained on F + Z (Eq. 6), so the network is to be fine-tuned. Its ``surgery`` lists what
    was dropped.

    Raises:
        ValueError: If the decoder was trained without the CNN's features (mode C of Fig. 6), or
            adapters are on.

    Example:
        >>> plain = drop_transformer(Segmenter.from_pretrained("transdodnet.phantom", 14))
        >>> plain.surgery.dropped[0]
        'backbone.decoder.fuse_memory.0.weight'
    """
    refuse_adapters(segmenter, "call merge_lora(network) first")
    plain = Segmenter(_without_transformer(segmenter.config))
    state, own = segmenter.state_dict(), plain.state_dict()
    plain.load_state_dict({name: state[name].clone() for name in own}, assign=True)
    for name, parameter in plain.named_parameters():
        parameter.requires_grad_(segmenter.get_parameter(name).requires_grad)
    dropped = tuple(sorted(set(state) - set(own)))
    plain.surgery = Surgery(kept=tuple(sorted(own)), new=(), dropped=dropped)
    plain.head_is_new = segmenter.head_is_new
    return plain.to(next(segmenter.parameters()).device).train(segmenter.training)


def _without_transformer(config: ModelConfig) -> ModelConfig:
    if config.transformer is not None and config.transformer.fusion == "C":
        raise UserError(
            "this decoder was trained on the Transformer's features only (mode C), so nothing is "
            "left without them; keep the Transformer"
        )
    return dataclasses.replace(config, transformer=None, thresholds={})


def out_channels(config: ModelConfig) -> int:
    """Return the number of a segmenter's output channels."""
    return len(config.classes) + int(config.exclusive)


def _class_names(
    out_channels: int | None, classes: Sequence[str] | None, exclusive: bool
) -> tuple[str, ...]:
    background = int(exclusive)
    if classes is None:
        if out_channels is None or out_channels <= background:
            raise UserError(
                f"out_channels must be at least {background + 1}"
                f"{' (the background included)' if exclusive else ''}, not {out_channels}"
            )
        return tuple(f"class_{i + 1}" for i in range(out_channels - background))
    check_listed("classes", classes)
    if out_channels is not None and out_channels != len(classes) + background:
        raise UserError(
            f"out_channels is {out_channels}, but {len(classes)} classes"
            f"{' and the background' if exclusive else ''} make {len(classes) + background}"
        )
    return tuple(classes)
