"""DICOM series: those of a folder or a zip, and the one that is meant."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import MissingFileError, UnknownNameError, UserError, printable
from mots_pretrained.images.dicom_files import REPEATS, Header, Slice, find_slices
from mots_pretrained.images.uneven import EvenPlanes

_SAME_PLACE = 0.01  # mm between slices of one place
_ROUNDED = 0.1, 0.2  # share of the usual distance, and at most so many mm: copies, rounded anew
_OVERLAP = 1.5  # slices by which acquisitions overlap that do not follow each other
_OF_STACKS = 3  # the first of ``REPEATS``, which number whole stacks; others number each image
_TURNED = 2e-3  # by which orientation and spacing of a series' images may differ


@dataclass(frozen=True, eq=False)
class Series:
    """A stack of images of one size and orientation, sorted along their normal.

    Attributes:
        folder: The folder or zip that holds all of it.
        header: What the images say of their series.
        label: Description, with the acquisition where the series has several.
        slices: The images.
        planes: The even grid that they were brought to, where they are uneven.
        strays: Images of the same series, of other size, direction or study, in no volume.
    """

    folder: Path
    header: Header
    label: str
    slices: tuple[Slice, ...]
    planes: EvenPlanes | None = None
    strays: int = 0

    @property
    def is_volume(self) -> bool:
        """Whether it is more than a localizer or a single image."""
        positions = places_of(self.slices)
        return not self.header.localizer and bool(np.ptp(positions) > _SAME_PLACE)

    @property
    def key(self) -> str:
        """What tells it from all others: its UID, and its label where parts share one."""
        return f"{self.header.series} {self.label}".strip()

    @property
    def study(self) -> tuple[str, str]:
        """What tells its study from others: the patient and its UID, or its folder without one."""
        return self.header.patient, self.header.study or str(self.folder)

    def __str__(self) -> str:
        rows, columns = self.slices[0].size
        return printable(
            f'{self.header.number or "-"}: "{self.label}" ({self.header.modality}, '
            f"{len(self.slices)} images of {columns}x{rows}, {self.header.series})"
        )


def find_series(path: str | os.PathLike[str]) -> list[Series]:
    """Find the series of a folder with all its subfolders, of a zip or of one file.

    Raises:
        MissingFileError: If there is no such place.
        UserError: If pydicom is missing, or a zip can't be read.
    """
    root = Path(path)
    if not root.exists():
        raise MissingFileError(f"no such folder or file: {root}")
    stacks: dict[tuple[Any, ...], list[tuple[Header, list[Slice]]]] = {}
    for header, one in find_slices(root):
        place = one.place.file if one.place.member else one.place.file.parent
        unnamed = "" if header.series else str(place)
        key = (header.patient, header.study, header.series, unnamed, header.localizer, one.size)
        stacks_so_far = stacks.setdefault(key, [])
        for _, stack in stacks_so_far:
            if _alike(stack[0], one):
                stack.append(one)
                break
        else:
            stacks_so_far.append((header, [one]))
    found = [
        Series(_folder(slices), header, header.description + suffix, tuple(slices))
        for group in stacks.values()
        for header, stack in group
        for suffix, slices in _acquisitions(_sorted(stack))
    ]
    return sorted(
        _told_apart(found),
        key=lambda s: (str(s.folder), s.header.number.zfill(9), s.header.series, s.label),
    )


def volumes_of(found: Sequence[Series]) -> list[Series]:
    """Of some series the CT volumes, or all volumes where none is CT."""
    volumes = [series for series in found if series.is_volume]
    return [series for series in volumes if series.header.modality == "CT"] or volumes


def choose_series(
    path: str | os.PathLike[str],
    wanted: str | None = None,
    *,
    found: Sequence[Series] | None = None,
) -> Series:
    """Choose one series of a place: the one that is wanted, else its only CT volume.

    Args:
        path: A folder, a zip or a file.
        wanted: UID, number or description, or a part of the description; see `matching`.
        found: The place's series, where they are known.

    Raises:
        MissingFileError: If there is no such place.
        UnknownNameError: If no series is called so; the message lists those there are.
        UserError: If there is no volume, or several could be meant.
    """
    found = find_series(path) if found is None else found
    volumes = volumes_of(found)
    if not volumes:
        what = "no DICOM image with a place in the patient" if not found else "single images only"
        raise UserError(
            f"{path} holds {what}, and no .nii or .nii.gz file; give a NIfTI, NRRD or MHA file, or "
            "the folder or zip of a DICOM series"
        )
    named = volumes if wanted is None else matching(found, wanted)
    if len(named) == 1:
        return named[0]
    listed = "; ".join(str(series) for series in (named or volumes))
    if not named:
        raise UnknownNameError(f"{path} has no series {wanted!r}; there are: {listed}")
    raise UserError(
        f"{path} holds {len(named)} series that could be meant; choose one with --series and its "
        f"number, description or UID: {listed}"
    )


def matching(found: Sequence[Series], wanted: str) -> list[Series]:
    """Of each study the volumes of this key, UID, number or description, as they were found.

    Of a study that has none, those with it in the description; a number is never a part of one.
    """
    studies: dict[tuple[str, str], list[Series]] = {}
    for series in found:
        if series.is_volume:
            studies.setdefault(series.study, []).append(series)
    plain = wanted.strip().casefold()
    chosen = {series for study in studies.values() for series in _called(study, plain)}
    return [series for series in found if series in chosen]


def _called(volumes: Sequence[Series], plain: str) -> list[Series]:
    """Return those of one study that are called so, in small letters."""
    for names in (
        lambda s: (s.key.casefold(),),
        lambda s: (s.header.series, s.header.number, s.label.casefold()),
        lambda s: (s.header.description.casefold(),),
    ):
        exact = [series for series in volumes if plain in names(series)]
        if exact:
            return exact
    if not plain or plain.isdecimal():
        return []
    return [series for series in volumes if plain in series.label.casefold()]


def _alike(one: Slice, other: Slice) -> bool:
    """Whether two images have one orientation and pixel spacing, up to rounding."""
    turned = zip(one.orientation, other.orientation, strict=True)
    return (
        all(abs(a - b) < _TURNED for a, b in turned)
        and all(
            abs(a - b) < _TURNED * max(abs(a), abs(b))
            for a, b in zip(one.spacing, other.spacing, strict=True)
        )
    ) or (one.orientation, one.spacing) == (other.orientation, other.spacing)


def _normal(one: Slice) -> NDArray[np.float64]:
    return np.cross(one.orientation[:3], one.orientation[3:])


def places_of(slices: Sequence[Slice]) -> NDArray[np.float64]:
    """Millimetres of each image along the normal of the first."""
    return np.array([one.position for one in slices]) @ _normal(slices[0])


def _sorted(slices: Sequence[Slice]) -> list[Slice]:
    order = np.argsort(places_of(slices), kind="stable")
    return [slices[index] for index in order]


def _folder(slices: Sequence[Slice]) -> Path:
    """The deepest folder, or the zip, that holds all the images."""
    files = {one.place.file for one in slices}
    if len(files) == 1 and slices[0].place.member:
        return slices[0].place.file
    return Path(os.path.commonpath([file.parent for file in files]))


def _acquisitions(slices: list[Slice]) -> Iterator[tuple[str, list[Slice]]]:
    """Split images that lie at one place, or between each other, by acquisition or time."""
    _, doubles = without_doubles(slices)
    for index, what in enumerate(REPEATS):
        parts: dict[str, list[Slice]] = {}
        for one in slices:
            parts.setdefault(one.repeat[index], []).append(one)
        if len(parts) == 1 or any(without_doubles(part)[1] for part in parts.values()):
            continue
        sizes = [len(part) for part in parts.values()]
        if max(sizes) > 1 if doubles else index < _OF_STACKS and _interleaved(parts.values()):
            for number, part in parts.items():
                yield f", {what} {number or '-'}", part
            return
    yield "", slices


def _interleaved(parts: Iterable[list[Slice]]) -> bool:
    """Whether stacks, each sorted, overlap: they are no parts of one that follow each other."""
    normal = _normal(next(iter(parts))[0])
    ends = []
    for part in parts:
        along = np.array([one.position for one in part]) @ normal
        if len(part) > 2:
            ends.append((along[0], along[-1], float(np.median(np.diff(along)))))
    ends.sort()
    return any(
        second[0] < first[1] - _OVERLAP * min(first[2], second[2])
        for first, second in itertools.pairwise(ends)
    )


def without_doubles(
    slices: Sequence[Slice],
) -> tuple[tuple[Slice, ...], list[tuple[int, Slice]]]:
    """Images of places of their own, and the others, each with the number of the one it repeats."""
    places = places_of(slices)
    gaps = np.diff(places)
    usual = float(np.quantile(gaps, 0.9)) if len(gaps) else 0.0  # where half may be doubles
    near = max(_SAME_PLACE, min(_ROUNDED[0] * usual, _ROUNDED[1]))
    kept: list[Slice] = []
    doubles: list[tuple[int, Slice]] = []
    last = -math.inf
    for one, along in zip(slices, places, strict=True):
        if along - last < near:
            doubles.append((len(kept) - 1, one))
        else:
            kept.append(one)
            last = along
    return tuple(kept), doubles


def _told_apart(found: list[Series]) -> list[Series]:
    """Number the stacks of one series that have one label, the largest first."""
    named: dict[tuple[str, str], list[Series]] = {}
    strays: dict[str, int] = {}
    for series in found:
        if not series.is_volume:
            uid = series.header.series
            strays[uid] = strays.get(uid, 0) + len(series.slices)
        named.setdefault((series.header.series, series.label), []).append(series)
    result = []
    for group in named.values():
        group.sort(key=lambda series: -len(series.slices))
        alone = sum(series.is_volume for series in group) <= 1
        for number, series in enumerate(group, start=1):
            label = series.label if alone else f"{series.label}, stack {number}"
            left_out = strays.get(series.header.series, 0) if series.is_volume else 0
            result.append(dataclasses.replace(series, label=label, strays=left_out))
    return result
