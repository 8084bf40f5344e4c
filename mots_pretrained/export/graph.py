"""A network as one graph of fixed size: a torch.export program, or ONNX of opset 20."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mots_pretrained.adaptation.ensemble import check_whole
from mots_pretrained.adaptation.extended import ExtendedNetwork
from mots_pretrained.errors import UserError
from mots_pretrained.files import write_json
from mots_pretrained.model.pretrained import Pretrained

Format = Literal["torch", "onnx"]
Part = Literal["network", "backbone"]

FILES: Mapping[Format, str] = {"torch": "model.pt2", "onnx": "model.onnx"}
"""Name of the graph's file, by format."""

CONTRACT = "contract.json"
"""Name of the file that says what the graph takes and gives."""

OPSET = 20
"""The first whose GridSample takes volumes, which deformable attention needs."""


def export_graph(
    network: Pretrained,
    folder: str | Path,
    *,
    format: Format = "onnx",
    part: Part = "network",
    size: tuple[int, int, int] | None = None,
) -> Path:
    """Write a network as a graph for one size of input, and its contract beside.

    Args:
        network: Any of ours.
        folder: Made if need be.
        format: ``"torch"`` for ``torch.export.load``, ``"onnx"`` for ONNX runtimes.
        part: The whole network, which gives logits, or its backbone, which gives feature maps.
        size: (D, H, W) of the input; the contract's test window by default. The position code
            depends on it, so a graph has one.

    Returns:
        The graph's file.

    Raises:
        ValueError: If the part or format is unknown, the size does not suit the network, folds of
            an ensemble are missing, or the folder holds another graph, whose contract this is not.
    """
    check_whole(network)
    if format not in FILES:
        raise UserError(f"unknown format {format!r}; allowed are {', '.join(FILES)}")
    shape = (1, network.config.encoder.in_channels, *(size or network.config.preprocessing.window))
    graph = _Flat(network if part == "network" else _backbone(network, part)).eval()
    image = torch.zeros(shape)
    with torch.no_grad():
        image += torch.linspace(-1, 1, shape[-1])
        outputs = graph.named(image)  # which refuses a size that does not divide
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILES[format]
    _check_alone(folder, path.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' own, on what they do inside
        if format == "torch":
            torch.export.save(torch.export.export(graph, (image,), strict=False), path)
        else:
            _write_onnx(graph, image, [*outputs], path)
    shapes = {name: list(out.shape) for name, out in outputs.items()}
    write_json(folder / CONTRACT, _contract(network, part, shape, shapes, format))
    return path


def _check_alone(folder: Path, name: str) -> None:
    """Refuse a folder whose contract is of another graph, which would lose it."""
    others = [folder / other for other in FILES.values() if other != name]
    if there := [path for path in others if path.exists()]:
        raise UserError(
            f"{there[0]} has its contract in {folder / CONTRACT}, which this one would replace; "
            "give another folder"
        )


class _Flat(nn.Module):
    """Gives a tuple of tensors, as graphs do."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.named(image).values())

    def named(self, image: Tensor) -> dict[str, Tensor]:
        """Return the outputs; of a backbone: encoder_1 .. 5, memory_1 .., bottleneck, decoder."""
        out = self.network(image)
        if isinstance(out, Tensor):
            return {"logits": out}
        named: dict[str, Tensor] = {}
        for field, found in out._asdict().items():
            if isinstance(found, Tensor):
                named[field] = found
            elif field != "stages":  # the decoder's, of which the last one is "decoder"
                named |= {f"{field}_{number}": x for number, x in enumerate(found, 1)}
        return named


def _backbone(network: Pretrained, part: str) -> nn.Module:
    if part != "backbone":
        raise UserError(f"unknown part {part!r}; allowed are network, backbone")
    if network.config.architecture == "backbone":
        return network
    own = network.net if isinstance(network, ExtendedNetwork) else network
    backbone = getattr(own, "backbone", None)
    if not isinstance(backbone, nn.Module) or network.config.backbone != "mots":
        raise UserError(f"a {network.config.architecture} has no backbone of its own to export")
    return backbone


def _write_onnx(graph: nn.Module, image: Tensor, names: list[str], path: Path) -> None:
    try:
        from onnxscript import opset20
    except ImportError:
        raise UserError(
            "ONNX needs more packages; install them with: pip install 'mots_pretrained[export]'"
        ) from None

    def grid_sampler_3d(
        input: Any, grid: Any, interpolation: int, padding: int, align_corners: bool
    ) -> Any:
        return opset20.GridSample(
            input,
            grid,
            mode=("linear", "nearest")[interpolation],
            padding_mode=("zeros", "border", "reflection")[padding],
            align_corners=int(align_corners),
        )

    program = torch.onnx.export(
        graph,
        (image,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["image"],
        output_names=names,
        custom_translation_table={torch.ops.aten.grid_sampler_3d.default: grid_sampler_3d},
        verbose=False,
    )
    if program is None:
        raise UserError("torch.onnx.export gave no program")
    program.save(path)


def _contract(
    network: Pretrained,
    part: str,
    shape: tuple[int, ...],
    outputs: dict[str, list[int]],
    format: str,
) -> dict[str, Any]:
    config = network.config
    softmax = bool(config.classes) and config.exclusive
    return {
        "format_version": 2,
        "format": format,
        "architecture": config.architecture,
        "part": part,
        "input": {"name": "image", "shape": list(shape), "dtype": "float32"},
        "outputs": outputs,
        "preprocessing": dataclasses.asdict(config.preprocessing),
        "tasks": {t.name: [t.organ, t.tumour] for t in config.tasks},
        "classes": list(config.classes),
        "activation": None if "logits" not in outputs else "softmax" if softmax else "sigmoid",
        "thresholds": config.thresholds,
        "label_values": {name: list(v) for name, v in config.label_values.items()},
    }
