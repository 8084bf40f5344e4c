"""Golden numbers of the published networks: how their weights and inputs are made."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).parent / "golden"


class Fixture(NamedTuple):
    """Published options, weights under published names, input, and numbers to agree with."""

    config: dict[str, Any]
    weights: dict[str, Tensor]
    image: Tensor
    std: dict[str, float]
    values: dict[str, np.ndarray]

    def deviation(self, name: str, tensor: Tensor) -> float:
        """Return the largest deviation of a whole tensor in units of its standard deviation."""
        expected = self.values[name]
        flat = tensor.detach().double().flatten().numpy()
        index = self.values.get(f"{name}__idx")
        found = flat if index is None else flat[index.ravel()]
        assert found.shape == expected.ravel().shape, name
        return float(np.abs(found - expected.ravel()).max() / self.std[name])


def key_table(name: str) -> dict[str, tuple[int, ...]]:
    """Return published names and shapes, in published order."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        meta = json.loads(str(file["meta"]))
    return {key: tuple(shape) for key, shape in meta.get("keys", meta).items()}


def stored(name: str) -> Fixture:
    """Read one of the fixtures kept beside the tests: T2, T6 or D1."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        values = {key: file[key] for key in file.files}
    meta = json.loads(str(values.pop("meta")))
    weights = filled(meta["keys"])
    assert weights_sha256(weights) == meta["weights_sha256"]
    image = image_of(meta["input_shape"])
    return Fixture(meta["config"], as_double(weights), image, meta["std"], values)


def whole(folder: Path, name: str) -> Fixture:
    """Read a fixture with all of its samples from the shared facts."""
    path = next(folder.glob(f"{name}_*.npz"))
    meta = json.loads(path.with_suffix(".json").read_text())
    keys = json.loads((folder / f"keys_{path.stem}.json").read_text())
    with np.load(path) as file:
        values = {key: file[key] for key in file.files}
    std = {key: tensor["std"] for key, tensor in meta["tensors"].items()}
    image = image_of(meta["input_shape"])
    return Fixture(meta["config"], as_double(filled(keys)), image, std, values)


def filled(keys: dict[str, Any]) -> dict[str, Tensor]:
    """Fill every weight by a rule from its name."""
    return {key: _fill(key, tuple(shape)) for key, shape in keys.items()}


def _fill(key: str, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    x = torch.randn(shape, generator=generator)
    if key.endswith(("query_embed.weight", "level_embed")):
        return x
    if key.endswith("sampling_offsets.bias"):
        return 2.0 * x
    if x.ndim > 1:
        return x / np.sqrt(x.numel() / shape[0])
    return 1 + 0.1 * x if key.endswith(".weight") else 0.02 * x


def as_double(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.double() for key, value in weights.items()}


def image_of(shape: list[int]) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1).double()


def weights_sha256(weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(weights):
        digest.update(weights[key].numpy().tobytes())
    return digest.hexdigest()


def record(modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Keep a copy of what each module returns, under a name, from now on."""
    outputs: dict[str, Tensor] = {}
    for name, module in modules.items():
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: outputs.__setitem__(name, output.clone())
        )
    return outputs


def record_inputs(module: nn.Module) -> list[tuple[Any, ...]]:
    """Keep what a module is called with, from now on."""
    calls: list[tuple[Any, ...]] = []
    module.register_forward_pre_hook(lambda _module, inputs: calls.append(inputs))
    return calls
