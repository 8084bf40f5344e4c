"""Which files are the channels of a scan, and in which order the network takes them."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mots_pretrained.data.layouts.brats import find_brats, find_brats_case
from mots_pretrained.data.layouts.channels import (
    are_numbered,
    in_order,
    order_of,
    reordered,
    sequence_named,
)
from mots_pretrained.data.layouts.collection import CaseFiles, Collection, add_once
from mots_pretrained.data.layouts.nnunet import DESCRIPTION, channels_named, read_description
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.images.reading import read_grid
from mots_pretrained.images.scan_files import is_seg_nrrd, list_volumes, stem, volumes_below

_CHANNEL = re.compile(r"(.+)_(\d{4})")  # nnU-Net's naming: CASE_0000 is the first channel


def folder_scans(folder: Path, channels: int | Sequence[str]) -> list[CaseFiles]:
    """Find the scans of a folder, as `cohort.find_scans` says.

    Raises:
        UserError: If there is none, a channel is there twice, or the channels are not those of the
            cases of BraTS there.
    """
    count = channels if isinstance(channels, int) else len(channels)
    if count > 1 and (case := find_brats_case(folder)) is not None:
        return _of_brats(case, channels)
    if files := [path for path in list_volumes(folder) if not is_seg_nrrd(path)]:
        return _as_told(_grouped(files, count), folder, channels)
    brats = find_brats(folder)
    if brats is None:
        if below := volumes_below(folder):
            raise UserError(
                f"{folder} holds no scan itself, and files of its sub-folders are not taken, such "
                f"as {below[0]}; give one of these folders, or a folder of links to such files, "
                "each named as its results are to be"
            )
        raise UserError(
            f"{folder} holds no .nii or .nii.gz file, and no NRRD, MHA or DICOM; give a folder of "
            "scans"
        )
    return _of_brats(brats, channels)


def one_scan(files: list[Path], channels: int | Sequence[str]) -> CaseFiles:
    """Name the scan that files given one by one make up, as it would be named in their folder.

    Warns:
        UserWarning: If a file is named after another sequence than it is given for.
    """
    count = channels if isinstance(channels, int) else len(channels)
    if not isinstance(channels, int):
        _doubt_names(files, channels)
    name = stem(files[0])
    if count == 1:
        own = os.path.abspath(files[0])  # links stay what they are called
        beside = _grouped(list_volumes(files[0].parent), 1)
        name = next((s.name for s in beside if os.path.abspath(s.images[0]) == own), name)
    else:
        names = sorted(stem(path) for path in files)
        case = names[0].removesuffix("_0000")
        if names == [f"{case}_{number:04d}" for number in range(count)]:
            name = case
    return CaseFiles(name, tuple(files))


def check_complete(scan: CaseFiles, channels: Sequence[str]) -> None:
    """Refuse a scan of several files that lacks one; channels are the model's.

    Raises:
        MissingFileError: Naming the file and its channel.
    """
    if len(scan.images) == 1:
        return
    for path, channel in zip(scan.images, channels, strict=False):
        if not path.exists():
            raise MissingFileError(f"{scan.name} lacks {stem(path)} ({channel})")


def _grouped(files: list[Path], channels: int) -> list[CaseFiles]:
    """Join files that are channels of one scan, and name each scan.

    A scan of several channels has a path for each of them, also for one that is not there, and
    behind them those that are too many.

    Raises:
        UserError: If a channel is there twice.
    """
    matches = {path: _CHANNEL.fullmatch(stem(path)) for path in files}
    if channels == 1:
        first = all(match is not None and match[2] == "0000" for match in matches.values())
        return [CaseFiles(m[1] if first and m else stem(p), (p,)) for p, m in matches.items()]
    groups: dict[str, dict[str, Path]] = {}
    scans = []
    for path, match in matches.items():
        if match is None or _holds_channels(path):
            scans.append(CaseFiles(stem(path), (path,)))
        else:
            add_once(groups.setdefault(match[1], {}), stem(path), path)
    for case, group in groups.items():
        one = next(iter(group.values()))
        ending = one.name[len(stem(one)) :]
        wanted = [f"{case}_{number:04d}" for number in range(channels)]
        every = [group.pop(name, one.with_name(f"{name}{ending}")) for name in wanted]
        more = [group[name] for name in sorted(group)]
        scans.append(CaseFiles(case, (*every, *more)))
    return sorted(scans, key=lambda scan: scan.images[0].name)


def _holds_channels(path: Path) -> bool:
    """Whether a file holds several channels itself; what can't be read is told of later."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they come again where the file is read
            return math.prod(read_grid(path)[0][3:]) > 1
    except (ValueError, OSError):
        return False


def _of_brats(found: Collection, channels: int | Sequence[str]) -> list[CaseFiles]:
    """Return the cases with their sequences in the order of the model's channels."""
    if isinstance(channels, int):
        return list(found.cases)
    there = ", ".join(found.channels or ())
    if are_numbered(channels) and len(channels) == len(found.channels or ()):
        warnings.warn(
            f"the model does not name its channels; the cases of BraTS in {found.folder} are given "
            f"to it as {there}",
            stacklevel=2,
        )
        return list(found.cases)
    ordered = in_order(found, channels)
    if ordered is None:
        raise UserError(
            f"{found.folder} is of BraTS, whose channels are {there}; the model's are "
            f"{', '.join(channels)}: give what it wants, file by file"
        )
    return list(ordered.cases)


def _as_told(
    scans: list[CaseFiles], folder: Path, channels: int | Sequence[str]
) -> list[CaseFiles]:
    """Bring numbered channels to the model's order, where a ``dataset.json`` names them."""
    if isinstance(channels, int):
        return scans
    told = None
    for place in (folder, folder.parent):
        with suppress(UserError):  # there is none, or it is something else
            told = told or channels_named(read_description(place / DESCRIPTION))
    order = None if told is None else order_of(told, channels)
    if told is None or order is None or order == tuple(range(len(order))):
        return scans
    whole = [scan for scan in scans if len(scan.images) == 1]
    if whole:
        warnings.warn(
            f"{whole[0].images[0]} is read as {', '.join(channels)}, but {DESCRIPTION} "
            f"names {', '.join(told)}; give one file a channel, and they are put in order",
            stacklevel=2,
        )
    return [scan if scan in whole else reordered(scan, order) for scan in scans]


def _doubt_names(files: Sequence[Path], channels: Sequence[str]) -> None:
    """Warn of a file whose name is that of another sequence than the channel's."""
    for path, channel in zip(files, channels, strict=False):
        named, wanted = sequence_named(stem(path)), sequence_named(channel)
        if named is not None and wanted not in (None, named):
            warnings.warn(
                f"{path} is given as {channel}; the model's channels are {', '.join(channels)}, in "
                "that order",
                stacklevel=2,
            )
            return
