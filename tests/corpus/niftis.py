"""NIfTI files: every field of the header fuzzed, every type, odd geometry, bombs and cut files."""

from __future__ import annotations

import gzip
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from corpus.entries import Entry, Outcome, generator
from corpus.nifti_oracle import AFFINE, SHAPE, ramp, read_everywhere

TYPES = (2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304)
REAL = {2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280}  # 1536 are floats of no one's machine
BYTES = dict(zip(TYPES, (1, 2, 4, 4, 8, 8, 3, 1, 2, 4, 8, 8, 16, 16, 32, 4), strict=True))
MEMBER = 1 << 26  # bytes that one member of a bomb unpacks to


def header(
    affine: np.ndarray = AFFINE,
    *,
    shape: tuple[int, ...] = SHAPE,
    code: int = 4,
    endian: str = "<",
    version: int = 1,
) -> Any:
    kind = nib.Nifti1Header if version == 1 else nib.Nifti2Header
    made = kind(endianness=endian)
    made.set_data_shape(shape)
    made["datatype"], made["bitpix"] = code, 8 * BYTES[code]
    made["vox_offset"] = made.sizeof_hdr + 4
    made.set_xyzt_units("mm")
    made.set_qform(affine, 1)
    made.set_sform(affine, 1)
    made["pixdim"][4:] = 1
    return made


def content(made: Any, array: np.ndarray | None = None) -> bytes:
    """Return a file's bytes; the header is written as it is, whatever it says."""
    if array is not None:
        voxels = array.tobytes(order="F")
    elif int(made["datatype"]) in REAL:
        voxels = ramp().astype(made.get_data_dtype()).tobytes(order="F")
    else:
        voxels = bytes(math.prod(SHAPE) * BYTES[int(made["datatype"])])
    return made.binaryblock + bytes(4) + voxels


def packed_as(data: bytes, level: int = 6) -> bytes:
    """Pack by gzip, without the time of day."""
    return gzip.compress(data, level, mtime=0)


def entries(folder: Path) -> Iterator[Entry]:
    """Write all files and yield what is done with each."""
    makers: tuple[Callable[[], Iterator[tuple[str, str, bytes, Outcome]]], ...] = (
        *(fields, types, geometry, shapes, scales, streams),
    )
    for maker in makers:
        for number, (name, ending, data, wanted) in enumerate(maker()):
            path = folder / f"{maker.__name__}_{number}{ending}"
            path.write_bytes(data)
            yield Entry(f"NIfTI, {maker.__name__}", name, _reader(path), wanted)


def fields() -> Iterator[tuple[str, str, bytes, Outcome]]:
    """Set every field of both headers to values at its ends and to noise."""
    for version in (1, 2):
        rng = generator("fields", version)
        sound = header(version=version)
        for name, place, dtype in _elements(sound):
            values = _extremes(dtype, rng)
            for value in values if version == 1 else rng.sample(values, 2):
                made = sound.copy()
                with np.errstate(all="ignore"):
                    if place is None:
                        made._structarr[name] = value
                    else:
                        made._structarr[name][place] = value
                packed = rng.random() < 0.5
                block = made.binaryblock + bytes(4) + ramp().astype("<i2").tobytes(order="F")
                ending = ".nii.gz" if packed else ".nii"
                label = f"NIfTI-{version} {name}{'' if place is None else [place]} = {value!r:.40}"
                yield label, ending, packed_as(block, 1) if packed else block, "either"


def types() -> Iterator[tuple[str, str, bytes, Outcome]]:
    """Every data type of the standard, in both byte orders and both versions."""
    for code, endian, version in itertools.product(TYPES, "<>", (1, 2)):
        made = header(code=code, endian=endian, version=version)
        wanted: Outcome = "right" if code in REAL else "refused"
        name = f"type {code}, byte order {endian}, NIfTI-{version}"
        yield name, ".nii", content(made), wanted


def geometry() -> Iterator[tuple[str, str, bytes, Outcome]]:
    """All axis orders, oblique, sheared and singular affines, contradictory and missing forms."""
    for order in itertools.permutations(range(3)):
        for signs in ((1, 1, 1), (-1, 1, -1), (1, -1, -1)):
            affine = np.eye(4)
            affine[:3, :3] = (np.diag([2.0, 3.0, 5.0]) @ np.diag(signs))[:, order]
            affine[:3, 3] = 7, -11, 13
            yield f"axes {order} {signs}", ".nii", content(header(affine)), "right"
    for degrees in (5, 20, 44, 46, 80):
        affine = AFFINE.copy()
        affine[:3, :3] = _turn(degrees, 0) @ _turn(degrees / 2, 2) @ affine[:3, :3]
        yield f"oblique by {degrees} degrees", ".nii", content(header(affine)), "right"
    for degrees in (3, 15, 30, -22, 50, 85):
        made = header(code=16)
        affine = AFFINE.copy()
        affine[1, 2] = affine[2, 2] * math.tan(math.radians(degrees))
        made.set_sform(affine, 1)
        wanted: Outcome = "right" if abs(degrees) < 45 else "refused"
        yield f"tilted by {degrees} degrees", ".nii", content(made), wanted
    made = header(code=16)
    affine = AFFINE.copy()
    affine[0, 1], affine[1, 2], affine[0, 2] = 1, 2, 1
    made.set_sform(affine, 1)
    yield "sheared in three ways", ".nii", content(made), "refused"
    for name, affine in _contradictions():
        made = header()
        made.set_sform(affine, 1)
        yield f"sform {name}", ".nii", content(made), "right"
    for q, s in ((0, 0), (1, 0), (0, 1), (4, 2), (9, 9), (-1, -1)):
        made = header()
        made["qform_code"], made["sform_code"] = q, s
        yield f"form codes {q} and {s}", ".nii", content(made), "either"
    for name, rows in (("zero", 0), ("NaN", np.nan), ("infinite", np.inf), ("1e30", 1e30)):
        made = header()
        made["srow_x"] = made["srow_y"] = made["srow_z"] = rows
        yield f"sform all {name}", ".nii", content(made), "refused"
    for value in (0.0, -1.0, np.nan, np.inf, 1e-30, 1e30):
        for axis in (1, 2, 3):
            made = header()
            made["pixdim"][axis] = value
            wanted = "either" if abs(value) in (1e-30, 1e30) else "refused"
            yield f"spacing {value} along axis {axis}", ".nii", content(made), wanted
    for unit, wanted in (("meter", "refused"), ("micron", "refused"), ("unknown", "right")):
        made = header()
        made.set_xyzt_units(unit)
        yield f"measured in {unit}", ".nii", content(made), wanted


def shapes() -> Iterator[tuple[str, str, bytes, Outcome]]:
    """Numbers of axes and voxels that are none of a volume's, or none that the file holds."""
    for shape, wanted in (
        ((4, 5, 6, 1), "right"),
        ((4, 5, 6, 1, 1), "right"),
        ((4, 5, 6, 1, 1, 1, 1), "right"),
        ((4, 5, 6, 3), "right"),
        ((4, 5, 6, 1, 3), "refused"),
        ((4, 5, 6, 2, 2), "refused"),
        ((20, 6), "refused"),
        ((120,), "refused"),
        ((4, 30, 1), "refused"),
        ((1, 20, 6), "refused"),
        ((20, 1, 6), "refused"),
        ((1, 1, 1), "refused"),
        ((2, 2, 2), "right"),
    ):
        made = header()
        made.set_data_shape(shape)
        made["pixdim"][1:4] = 2, 3, 5
        voxels = np.resize(ramp().ravel(order="F"), math.prod(shape)).astype("<i2")
        yield f"shape {shape}", ".nii", content(made, voxels), wanted
    for dim in (
        (3, 32767, 32767, 32767),
        (7, 32767, 32767, 32767, 32767, 32767, 32767, 32767),
        (3, 4, 5, 7),
        (3, 4, 5, 30000),
        (3, -4, 5, 6),
        (3, 0, 5, 6),
        (0, 4, 5, 6),
        (8, 4, 5, 6),
        (-1, 4, 5, 6),
        (4, 4, 5, 6, 0),
        (4, 4, 5, 6, -1),
    ):
        for ending in (".nii", ".nii.gz"):
            made = header()
            made["dim"] = 1
            made["dim"][: len(dim)] = dim
            data = content(made)
            data = packed_as(data, 1) if ending == ".nii.gz" else data
            yield f"dim {dim}{ending}", ending, data, "refused"


def scales() -> Iterator[tuple[str, str, bytes, Outcome]]:
    """Slopes and intercepts, and voxels that are no numbers."""
    for slope, inter in itertools.product((0, 1, -1, 2.5, 1e-30, 1e38, np.nan, np.inf), (0, -1024)):
        made = header()
        made["scl_slope"], made["scl_inter"] = slope, inter
        yield f"slope {slope}, intercept {inter}", ".nii", content(made), "either"
    for inter in (np.nan, np.inf, 1e38):
        made = header()
        made["scl_slope"], made["scl_inter"] = 1, inter
        yield f"intercept {inter}", ".nii", content(made), "either"
    for code, value in ((16, np.nan), (16, np.inf), (64, -np.inf), (64, 1e300)):
        made = header(code=code)
        voxels = ramp().astype(made.get_data_dtype())
        voxels[1, 2, 3] = value
        yield f"a voxel of {value} in type {code}", ".nii", content(made, voxels), "refused"


def streams() -> Iterator[tuple[str, str, bytes, Outcome]]:
    """Files cut short, with something behind them, wrongly named, and gzip bombs."""
    plain = content(header())
    packed = packed_as(plain, 6)
    rng = generator("streams")
    for length in (0, 1, 4, 100, 347, 348, 351, 352, 353, len(plain) // 2, len(plain) - 1):
        yield f"cut to {length} bytes", ".nii", plain[:length], "refused"
    for length in (1, 2, 10, 18, 40, len(packed) // 2, len(packed) - 8, len(packed) - 1):
        yield f"gzip cut to {length} bytes", ".nii.gz", packed[:length], "refused"
    for name, behind in (("zeros", bytes(1000)), ("text", b"hello" * 50), ("itself", packed)):
        yield f"{name} behind the gzip stream", ".nii.gz", packed + behind, "either"
    yield "text behind the voxels", ".nii", plain + b"hello" * 50, "right"
    yield (
        "two members of gzip",
        ".nii.gz",
        packed_as(plain[:400]) + packed_as(plain[400:]),
        "right",
    )
    yield "gzip within gzip", ".nii.gz", packed_as(packed), "refused"
    yield "not packed, named .gz", ".nii.gz", plain, "refused"
    yield "packed, named .nii", ".nii", packed, "refused"
    yield "a header alone, without voxels", ".nii", plain[:352], "refused"
    for _ in range(20):
        damaged = bytearray(packed)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        yield "a bit of the gzip file flipped", ".nii.gz", bytes(damaged), "either"
    for name, data in (("zeros", bytes(4096)), ("noise", rng.randbytes(4096)), ("text", b"a,b\n")):
        yield f"{name} only", ".nii", data, "refused"
        yield f"{name} only, packed", ".nii.gz", packed_as(data), "refused"
    # A member of zeros once more and once more: gigabytes in a file of a megabyte.
    zeros = packed_as(bytes(MEMBER), 9)
    yield "6 GB of zeros behind the voxels", ".nii.gz", packed + zeros * 96, "refused"
    for shape in ((1290, 1290, 1290), (32767, 32767, 3), (32767, 32767, 600)):
        made = header()
        made["dim"][1:4] = shape
        yield (
            f"a bomb of {shape} voxels",
            ".nii.gz",
            packed_as(content(made)) + zeros * 96,
            ("refused"),
        )
    made = header()
    made["vox_offset"] = 5e9
    yield (
        "voxels behind 5 GB of nothing",
        ".nii.gz",
        packed_as(content(made)) + zeros * 96,
        ("refused"),
    )
    yield "a bomb of empty members", ".nii.gz", packed + packed_as(b"") * 10_000, "right"
    yield "data that run on", ".nii.gz", packed[:-9] + b"\x78\x9c\x03\0\0\0\0\x01", "refused"


def _elements(sound: Any) -> Iterator[tuple[str, int | None, np.dtype]]:
    """Yield every number and text of a header's fields."""
    dtype = sound.template_dtype
    for name in dtype.names:
        if name == "sizeof_hdr":
            yield name, None, dtype[name]
        elif dtype[name].shape:
            for place in range(dtype[name].shape[0]):
                yield name, place, dtype[name].base
        else:
            yield name, None, dtype[name]


def _extremes(dtype: np.dtype, rng: Any) -> list[Any]:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return [0, limits.max, limits.min or 1, rng.randrange(limits.max)]
    if dtype.kind == "f":
        return [np.nan, np.inf, -1e30, 0.0, rng.uniform(-500, 500)]
    return [rng.randbytes(dtype.itemsize), b"\xff" * dtype.itemsize, b""]


def _turn(degrees: float, axis: int) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.eye(3)
    one, two = (k for k in range(3) if k != axis)
    turn[one, one] = turn[two, two] = c
    turn[one, two], turn[two, one] = -s, s
    return turn


def _contradictions() -> Iterator[tuple[str, np.ndarray]]:
    flipped, moved, other = AFFINE.copy(), AFFINE.copy(), AFFINE.copy()
    flipped[0] *= -1
    moved[:3, 3] += 20
    other[:3, :3] *= 1.5
    yield "with left and right swapped against the qform", flipped
    yield "20 mm beside the qform", moved
    yield "of another spacing than the qform", other


def _reader(path: Path) -> Callable[[], None]:
    return lambda: read_everywhere(path)
