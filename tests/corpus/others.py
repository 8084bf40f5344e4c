"""NRRD, MetaImage and DICOM: headers that lie, files cut short, series in parts or mixed."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from corpus.entries import Entry, Outcome, generator, require
from dicom_series import write_series
from scipy.ndimage import map_coordinates

from mots_pretrained.images.reading import read_grid, read_spacing, read_volume
from mots_pretrained.images.volume import Volume

SHAPE = (6, 8, 10)


def world_ramp() -> np.ndarray:
    """Return voxels ``(D, H, W)`` whose value grows linearly along every axis."""
    d, h, w = np.indices(SHAPE)
    return (100 + 20 * d + 3 * h - 5 * w).astype(np.int16)


def entries(folder: Path) -> Iterator[Entry]:
    yield from _itk(folder)
    yield from _dicom(folder)


def _itk(folder: Path) -> Iterator[Entry]:
    """Edit every line of the headers, and cut and flip the files."""
    image = sitk.GetImageFromArray(world_ramp())
    image.SetSpacing((2.0, 3.0, 5.0))
    image.SetOrigin((-7.0, 11.0, 13.0))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    odd = ("0", "-1", "nan", "99999 99999 99999", "1e400", "", "x", "../../../etc/passwd", "(1,2)")
    for ending, marks in ((".nrrd", (": ", ":=")), (".mha", (" = ",))):
        sound = folder / f"sound{ending}"
        sitk.WriteImage(image, str(sound))
        data = sound.read_bytes()
        rng = generator("itk", ending)
        inputs: list[tuple[str, bytes]] = [("sound", data)]
        end = data.index(b"\n\n") if ending == ".nrrd" else data.index(b"LOCAL\n") + 5
        lines = data[:end].decode("latin-1").split("\n")
        for number, line in enumerate(lines):
            mark = next((m for m in marks if m in line), None)
            if mark is None:
                continue
            name = line.split(mark)[0]
            for value in rng.sample(odd, 4):
                changed = [*lines[:number], f"{name}{mark}{value}", *lines[number + 1 :]]
                head = "\n".join(changed).encode("latin-1")
                inputs.append((f"{name}{mark}{value!r}", head + data[end:]))
            without = "\n".join([*lines[:number], *lines[number + 1 :]]).encode("latin-1")
            inputs.append((f"without {name}", without + data[end:]))
        inputs += [(f"cut to {n} bytes", data[:n]) for n in (0, 3, 50, end, len(data) - 1)]
        inputs += [("noise", rng.randbytes(900)), ("zeros", bytes(900))]
        for number, (told, content) in enumerate(inputs):
            path = folder / f"itk_{number}{ending}"
            path.write_bytes(content)
            wanted: Outcome = "right" if told == "sound" else "either"
            yield Entry("NRRD and MHA", f"{ending}: {told}"[:70], _read_itk(path), wanted)


def _read_itk(path: Path) -> Callable[[], None]:
    def read() -> None:
        volume = read_volume(path)
        require(np.allclose(read_spacing(path), volume.spacing), "the header tells other spacing")
        require(len(read_grid(path)[0]) >= 3, "no grid")
        image = sitk.ReadImage(str(path))
        array = sitk.GetArrayFromImage(image).T
        affine = np.eye(4)
        direction = np.array(image.GetDirection()).reshape(3, 3)
        affine[:3, :3] = direction * np.array(image.GetSpacing())
        affine[:3, 3] = image.GetOrigin()
        _same_places(volume, array, np.diag([-1.0, -1, 1, 1]) @ affine)

    return read


def _dicom(folder: Path) -> Iterator[Entry]:
    series = write_series(folder / "sound", world_ramp(), entropy="corpus")
    true = read_volume(folder / "sound")
    truth = (true.array.transpose(2, 1, 0), true.affine[:, [2, 1, 0, 3]])
    for number, (told, change, wanted) in enumerate(_changes()):
        home = folder / f"dicom_{number}"
        shutil.copytree(series[0].parent, home)
        files = sorted(path for path in home.rglob("*") if path.is_file())
        change(home, files)
        yield Entry("DICOM", told, _read_dicom(home, told, *truth), wanted)


def _read_dicom(home: Path, told: str, array: np.ndarray, affine: np.ndarray) -> Callable[[], None]:
    """Compare with the sound series; where other values are asked for, the places alone."""

    def read() -> None:
        volume = read_volume(home)
        require(bool(np.isfinite(volume.array).all()), "voxels that are no numbers")
        if not told.startswith(("Rescale", "PixelData", "BitsStored")):
            _same_places(volume, array, affine)

    return read


def _same_places(volume: Volume, array: np.ndarray, affine: np.ndarray) -> None:
    """Wherever the true file has a voxel, the volume shows its value, between voxels the mean."""
    index = np.indices(volume.shape).reshape(3, -1)
    world = volume.affine @ np.vstack([index, np.ones(index.shape[1])])
    places = np.linalg.solve(affine, world)[:3]
    top = np.array(array.shape[:3])[:, None] - 1
    inside = ((places >= -1e-3) & (places <= top + 1e-3)).all(axis=0)
    require(int(inside.sum()) >= 0.3 * len(inside), "the volume lies elsewhere")
    wanted = map_coordinates(array.astype(float), places, order=1, mode="nearest")
    apart = np.abs(volume.array.reshape(-1) - wanted)[inside].max()
    require(apart <= 1.01, f"values differ by {apart:g}")


Change = tuple[str, Callable[[Path, list[Path]], None], Outcome]

_TAGS = (
    *("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"),
    *("PhotometricInterpretation", "PixelData", "SeriesInstanceUID", "SOPInstanceUID", "Modality"),
    *("SOPClassUID", "RescaleSlope", "RescaleIntercept", "InstanceNumber"),
)

_VALUES: dict[str, tuple[Any, ...]] = {
    "Rows": (0, 65535, 4),
    "Columns": (0, 65535, 7),
    "PixelSpacing": ([0, 0], [-1, 1], ["nan", "nan"], [1e30, 1], []),
    "ImageOrientationPatient": ([0] * 6, [1, 0, 0, 1, 0, 0], ["nan"] * 6, [9, 0, 0, 0, 9, 0]),
    "ImagePositionPatient": (["nan"] * 3, [1e30] * 3, [], [0, 0]),
    "BitsAllocated": (0, 1, 8, 32, 12345),
    "BitsStored": (0, 1, 99),
    "SamplesPerPixel": (0, 3, 65535),
    "PhotometricInterpretation": ("RGB", "PALETTE COLOR", "", "x\x1b[2J"),
    "PixelData": (b"", b"\0\0", bytes(10**6)),
    "RescaleSlope": ("0", "nan", "1e38", "-1"),
    "RescaleIntercept": ("nan", "inf"),
    "Modality": ("MR", "SEG", "\x1b[2J"),
    "SeriesDescription": ("\x1b]0;x\x07", "../../x", "a\\b"),
    "NumberOfFrames": (0, 2, 10**9),
}


def _changes() -> Iterator[Change]:
    yield "sound", lambda home, files: None, "right"
    for tag in _TAGS:
        for told, which in (("all", slice(None)), ("one", slice(2, 3))):
            yield f"{tag} missing in {told}", _edited(which, tag, None), "either"
    for tag, values in _VALUES.items():
        for value in values:
            for told, which in (("all", slice(None)), ("one", slice(2, 3))):
                yield f"{tag} = {value!r:.30} in {told}", _edited(which, tag, value), "either"
    rng = generator("dicom")
    yield "a slice missing", lambda home, files: files[2].unlink(), "either"
    yield "three slices missing", lambda home, files: [f.unlink() for f in files[1:4]], "either"
    yield "one slice alone", lambda home, files: [f.unlink() for f in files[1:]], "refused"
    yield "no file", lambda home, files: [f.unlink() for f in files], "refused"
    yield "a slice twice", lambda home, files: shutil.copy(files[2], home / "again.dcm"), "right"
    noise = rng.randbytes(2000)
    yield "noise beside", lambda home, files: (home / "x.dcm").write_bytes(noise), "either"
    yield "a text beside", lambda home, files: (home / "x.txt").write_text("x"), "right"
    for length in (0, 100, 132, 200, 600):
        yield f"one file cut to {length} bytes", _cut(length), "either"
    for _ in range(20):
        place, bit = rng.randrange(132, 900), rng.randrange(8)
        yield f"bit {bit} of byte {place} of one file flipped", _flipped(place, bit), "either"
    yield "a zip in a zip", _zipped, "either"


def _edited(which: slice, tag: str, value: Any) -> Callable[[Path, list[Path]], None]:
    def change(home: Path, files: list[Path]) -> None:
        for path in files[which]:
            dataset = pydicom.dcmread(path)
            if value is None and tag in dataset:
                del dataset[tag]
            elif value is not None:
                with pydicom.config.disable_value_validation():
                    setattr(dataset, tag, value)
            dataset.save_as(path)

    return change


def _cut(length: int) -> Callable[[Path, list[Path]], None]:
    return lambda home, files: files[2].write_bytes(files[2].read_bytes()[:length])


def _flipped(place: int, bit: int) -> Callable[[Path, list[Path]], None]:
    def change(home: Path, files: list[Path]) -> None:
        data = bytearray(files[2].read_bytes())
        data[place % len(data)] ^= 1 << bit
        files[2].write_bytes(data)

    return change


def _zipped(home: Path, files: list[Path]) -> None:
    with zipfile.ZipFile(home / "inner.zip", "w") as file:
        for path in files:
            file.write(path, path.name)
    for path in files:
        path.unlink()
