"""safetensors files with a checksum of all that they say, by which damage is found."""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mots_pretrained.errors import UserError

_SUM = "crc32"
_LINE = 64  # bytes, to which torch aligns what it allocates
_SMALL = 1 << 16  # bytes
_SYSTEM = re.compile(r"\(os error (\d+)\)")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and texts to a path, such as ``files.replacing_by_name`` gives.

    Args:
        path: The file to write.
        tensors: Contiguous ones on the CPU, which share no memory.
        metadata: Texts by name.

    Raises:
        OSError: If the system can't write them: a full disk, say.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # safetensors writes beside its file under a name of its own, which a killed process would
    # leave; a folder named after the draft is found by files.remove_drafts.
    folder = path.with_name(f"{path.name}.d")
    try:
        folder.mkdir(exist_ok=True)
        metadata = {**metadata, _SUM: _sum(tensors, metadata)}
        save_file(dict(tensors), folder / "all", metadata=metadata)
        os.replace(folder / "all", path)
    except SafetensorError as error:
        found = _SYSTEM.search(f"{error}")
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from None
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _sort_metadata(path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what ``write_tensors`` or another program wrote: tensors on the CPU, and texts.

    Raises:
        UserError: If it is no such file, or not as it was written.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: _aligned(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except Exception as error:  # the reader fails in many types on a damaged header
        raise UserError(
            f"{path} is no readable safetensors file ({error!s:.200}); copy or download it again"
        ) from error
    expected = metadata.pop(_SUM, None)
    if expected is not None and expected != _sum(tensors, metadata):
        raise UserError(
            f"{path} is damaged: its content has not the checksum that it names; copy or download "
            "it again"
        )
    return tensors, metadata


def _aligned(tensor: Tensor) -> Tensor:
    """Copy a small tensor that lies across the processor's lines, as a file's contents may.

    Where a number lies changes the last digit of sums: networks would compute other bits after
    they were stored. Large tensors, convolutions' all, stay mapped; their kernels repack them.
    """
    if tensor.data_ptr() % _LINE == 0 or tensor.nbytes > _SMALL:
        return tensor
    return tensor.clone()


def _sort_metadata(path: Path) -> None:
    """Give the texts of a file the order of their names; the library's is one of chance."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) <= size:
            file.seek(8)
            file.write(text.ljust(size))


def _sum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the CRC-32 of names, types, shapes, values and texts."""
    found = zlib.crc32(repr(sorted(metadata.items())).encode("utf-8", "surrogatepass"))
    for name, tensor in sorted(tensors.items()):
        found = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), found)
        found = zlib.crc32(tensor.detach().reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"
