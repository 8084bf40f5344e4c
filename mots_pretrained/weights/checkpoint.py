"""A stored network: a folder with config.json, model.safetensors and a model card (README.md)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.files import replacing_by_name, replacing_folder, write_text
from mots_pretrained.weights.card import Description, model_card
from mots_pretrained.weights.tensors import read_tensors, write_tensors

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"

FOLD = "fold_{}"
"""Name of a fold's folder within the ensemble's own."""

WRAPPERS = frozenset({"module", "_orig_mod"})
"""What DataParallel and torch.compile put into the names of a network's parameters."""
_ENDINGS = {".json", ".safetensors", ".md", ".csv"}  # of what a model's folder holds

_LARGEST_CONFIG = 1 << 20  # bytes; the paper's own is 3 kB


def save_folder(
    folder: str | os.PathLike[str],
    config: ModelConfig,
    state: Mapping[str, Tensor],
    *,
    dtype: torch.dtype | None = None,
    card: str | None = None,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Write a network's configuration, weights and model card, each file whole or not at all.

    Args:
        folder: Folder to write, made if need be; files of other names in it are left alone.
        config: What the network is built from.
        state: Its parameters by name, as ``state_dict()`` gives them; what DataParallel and
            torch.compile put into the names is left out.
        dtype: Store weights as this type, e.g. ``torch.float16`` for half the size; they load as
            float32 again. As they are by default.
        card: Text of README.md; made from ``config`` by default.
        extra: Further text files, by plain file name.

    Returns:
        The folder.

    Raises:
        ValueError: If a weight is no floating-point number, is not finite or does not fit
            ``dtype``, or the folder is a file or holds folds.
    """
    refuse_other_network(folder)
    texts = {
        **(extra or {}),
        CARD: model_card(config, Description(name=Path(folder).name)) if card is None else card,
        CONFIG: config.to_json(),
    }
    strange = [name for name in texts if Path(name).name != name or name == WEIGHTS]
    if strange:
        raise UserError(f"extra files need plain names of their own, not {strange[0]!r}")
    tensors = _storable(plain_names(state), dtype)
    folder = Path(folder)
    if folder.is_dir():
        _write(folder, tensors, texts)
    elif folder.exists():
        raise UserError(f"{folder} is a file; give a folder to save into")
    else:
        with replacing_folder(folder) as draft:
            _write(draft, tensors, texts)
    return folder


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the names that they have outside DataParallel and torch.compile.

    Example:
        >>> [*plain_names({"module.head._orig_mod.bias": torch.zeros(1)})]
        ['head.bias']
    """
    return {plain_name(name): value for name, value in state.items()}


def plain_name(name: str) -> str:
    """Return a parameter's name without what DataParallel and torch.compile have put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def load_folder(folder: str | os.PathLike[str]) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Read what :func:`save_folder` wrote.

    The weights are float32 on the CPU, mapped from the file rather than copied where they are
    stored so.

    Args:
        folder: The folder with config.json and model.safetensors.

    Raises:
        FileNotFoundError: If the folder or one of the two files is missing.
        ValueError: If one of them cannot be read; the message says which and why.
    """
    folder = Path(folder)
    config = load_config(folder)
    return config, read_weights(_required(folder, WEIGHTS))


def load_config(folder: str | os.PathLike[str]) -> ModelConfig:
    """Read the configuration of a stored network.

    Raises:
        FileNotFoundError: If the folder or its config.json is missing.
        ValueError: If it cannot be read; the message names the field.
    """
    return _read_config(_required(Path(folder), CONFIG))


def fold_folders(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the folders of an ensemble's networks; none of a folder that holds a network itself.

    Example:
        >>> fold_folders("transdodnet.phantom")
        []
    """
    root = Path(folder)
    if (root / CONFIG).is_file() or not root.is_dir():
        return []
    found = (path for path in root.glob(FOLD.format("*")) if path.name[len("fold_") :].isdigit())
    with_network = [path for path in found if (path / CONFIG).is_file()]
    return sorted(with_network, key=lambda path: int(path.name[len("fold_") :]))


def refuse_other_network(folder: str | os.PathLike[str], folds: Collection[str] = ()) -> None:
    """Refuse to save into a folder with a network that would be loaded instead, or with it.

    Args:
        folder: Folder to write.
        folds: Names of the folds to write; none of a single network.

    Raises:
        UserError: If it holds other folds, or, where folds are to be written, a single network.
    """
    others = [path.name for path in fold_folders(folder) if path.name not in folds]
    if folds and (Path(folder) / CONFIG).is_file():
        others = [CONFIG]
    if others:
        raise UserError(
            f"{folder} holds another network ({', '.join(others[:3])}); save into another folder, "
            "or remove that first"
        )


def network_folders(folder: str | Path) -> list[Path]:
    """Return the folders of an ensemble's networks, or the folder itself where it is none's."""
    return fold_folders(folder) or [Path(folder)]


def _storable(state: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Bring parameters into the form that safetensors takes: on the CPU, contiguous, unshared."""
    tensors: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, parameter in state.items():
        if not parameter.is_floating_point():
            raise UserError(f"weight {name} is {parameter.dtype}; only floats can be stored")
        tensor = parameter.detach().to("cpu", dtype or parameter.dtype).contiguous()
        if not bool(parameter.isfinite().all()):
            raise UserError(
                f"weight {name} holds values that are no numbers, so the network computes none; "
                "go back to a state before its training diverged, and lower the rate"
            )
        if not bool(tensor.isfinite().all()):
            raise UserError(f"weight {name} holds values too large for {dtype}; store it as it is")
        storage = tensor.untyped_storage()
        if storage.data_ptr() in storages or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        storages.add(tensor.untyped_storage().data_ptr())
        tensors[name] = tensor
    return tensors


def _write(folder: Path, tensors: dict[str, Tensor], texts: Mapping[str, str]) -> None:
    """Write the weights under a temporary name, then the texts, then give the weights theirs."""
    with replacing_by_name(folder / WEIGHTS) as draft:
        write_tensors(draft, tensors, {"format": "pt"})
        for name, text in texts.items():
            write_text(folder / name, text)
        shutil.copymode(folder / CONFIG, draft)  # safetensors makes its files private


def _required(folder: Path, name: str) -> Path:
    path = folder / name
    if path.is_file():
        refuse_links(folder)
        return path
    if not folder.is_dir():
        raise MissingFileError(f"no such folder: {folder}; give one with {CONFIG} and {WEIGHTS}")
    if fold_folders(folder):
        raise MissingFileError(
            f"{folder} holds folds, not one network; load them with mots_pretrained.load, or name "
            f"one fold's folder, such as {fold_folders(folder)[0]}"
        )
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".pth", ".pt", ".bin"))
    hint = f"; it has {pickles[0]}, which `mots convert` may read" if pickles else ""
    raise MissingFileError(f"{folder} has no {name}, so no network is stored there{hint}")


def refuse_links(folder: Path) -> None:
    """Refuse a model's folder of which a file is a link to elsewhere.

    What is loaded must be what was published there, and no file of whoever loads it may be
    published in turn. The cache of a Hub links from snapshots to blobs beside them.

    Raises:
        UserError: If one is.
    """
    inside = Path(os.path.realpath(folder))
    for snapshot in (inside, inside.parent):  # the latter of an ensemble's fold
        if snapshot.parent.name == "snapshots":
            inside = snapshot.parents[2]
            break
    for path in sorted(folder.iterdir()):
        if path.suffix in _ENDINGS and path.is_symlink():
            target = Path(os.path.realpath(path))
            if not target.is_relative_to(inside):
                raise UserError(f"{path} leads out of its folder, to {target}; copy the file there")


def _read_config(path: Path) -> ModelConfig:
    if path.stat().st_size > _LARGEST_CONFIG:
        raise UserError(f"{path} is larger than 1 MB; that is no configuration of this package")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save the model again") from None
    try:
        return ModelConfig.from_json(text)
    except ValueError as error:
        raise UserError(f"{path.parent}: {error}") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; weights are float32 on the CPU, mapped where they are stored so.

    Raises:
        ValueError: If it is no such file, or holds anything but finite floats.
    """
    state, _ = read_tensors(path)
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            raise UserError(f"{path}: weight {name} is {tensor.dtype}; only floats are allowed")
        if not bool(tensor.isfinite().all()):
            raise UserError(
                f"{path}: weight {name} holds values that are no numbers; get the weights again"
            )
    return {name: tensor.float() for name, tensor in state.items()}
