"""Cases that a JSON file lists by the paths of their images and labels."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mots_pretrained.data.layouts.collection import CaseFiles, by_stem
from mots_pretrained.data.layouts.pairs import case_name
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.images.scan_files import list_volumes, stem


def listed_cases(entries: Sequence[Any], folder: Path, where: Path) -> tuple[CaseFiles, ...]:
    """Find the cases of a list such as ``[{"image": "a.nii.gz", "label": "b.nii.gz"}, ...]``.

    ``image`` is a path or one a channel, and so are ``image2``, ``image3`` and so on, which follow
    it. Other keys are not looked at.

    Args:
        entries: The list.
        folder: What paths are relative to.
        where: The file that holds the list, for messages.

    Returns:
        The cases in the list's order, without names (see `named_apart`).

    Raises:
        MissingFileError: If an image is not there.
        UserError: If an entry is none, has no label map, or lacks a channel.
    """
    cases = []
    for number, entry in enumerate(entries, start=1):
        images = _images(entry) if isinstance(entry, dict) else []
        if not images:
            raise UserError(
                f'{where}: entry {number} must be {{"image": ..., "label": ...}}, not {entry!r:.80}'
            )
        cases.append(listed_case(images, entry.get("label"), folder, where=where))
    return tuple(cases)


def listed_case(images: Any, label: Any, folder: Path, *, where: Path, name: str = "") -> CaseFiles:
    """Find the files of one case that is listed by its paths, perhaps written on Windows.

    Raises:
        MissingFileError: If an image is not there.
        UserError: If the label map is not there, or none is listed; if a channel is missing, or
            an image is a folder.
    """
    wanted = images if isinstance(images, list) else [images]
    found = [_files(folder, text) for text in wanted]
    if not wanted or not all(found):
        missing = next((text for text, files in zip(wanted, found, strict=True) if not files), None)
        if missing and os.path.isdir(folder / str(missing)):
            raise UserError(
                f"{where} lists {missing!s:.200}, which is a folder; training reads NIfTI, NRRD "
                "and MetaImage files, no DICOM"
            )
        raise MissingFileError(f"{where} lists {missing!s:.200}, which is not there")
    true = _files(folder, label)
    if not true:
        lacks = "none is listed" if label is None else f"{label!s:.200} is not there"
        raise UserError(f"{found[0][0]} has no label: {lacks} ({where})")
    channels = tuple(file for files in found for file in files)
    return CaseFiles(name, channels, true[0])


def named_apart(cases: Sequence[CaseFiles], where: Path) -> tuple[CaseFiles, ...]:
    """Name cases after their files, or after their folders where the files' names come again.

    Raises:
        UserError: If a case is listed twice.
    """
    firsts = [os.path.abspath(case.images[0]) for case in cases]
    above = os.path.commonpath([os.path.dirname(path) for path in firsts])
    places = [Path(os.path.relpath(path, above)) for path in firsts]
    paths = [(place.parent / stem(place)).as_posix() for place in places]
    files = [case_name(case.images, case.label) for case in cases if case.label is not None]
    for names in (files, [case.images[0].parent.name for case in cases], paths):
        if len({*names}) == len(cases):
            return tuple(replace(case, name=name) for case, name in zip(cases, names, strict=True))
    one, two = [n for n, path in enumerate(paths) if paths.count(path) > 1][:2]
    raise UserError(
        f"{where} lists {firsts[one]} and {firsts[two]} as two cases; take one of them away"
    )


def _images(entry: Mapping[str, Any]) -> list[Any]:
    """Return the paths of all channels of an entry."""
    keys = [match for key in entry if (match := re.fullmatch(r"image(\d*)", key))]
    keys.sort(key=lambda match: int(match[1] or 1))
    listed = [entry[match[0]] for match in keys]
    return [path for each in listed for path in (each if isinstance(each, list) else [each])]


def _files(folder: Path, text: Any) -> list[Path]:
    """Find a file as it is listed, with another ending of NIfTI, or as one file a channel.

    A path of the machine that wrote the list is looked for by its last folder and name; one that
    leads out of the folder by ``..`` is not.
    """
    if not isinstance(text, str):
        return []
    listed = Path(text.replace("\\", "/"))
    short = listed if ".." in listed.parts else Path(*listed.parts[-2:])
    for path in (folder / listed, folder / short):
        try:
            if path.is_file():
                return [path]
            there = list_volumes(path.parent) if path.parent.is_dir() else []
        except OSError:  # a name that is too long, or a folder that may not be read
            continue
        same = [file for file in there if stem(file) == stem(path)]
        if files := same[:1] or _numbered(there, stem(path)):
            return files
    return []


def _numbered(there: Sequence[Path], name: str) -> list[Path]:
    """Return the files of a case's channels, ``X_0000``, ``X_0001`` and so on, none left out.

    Raises:
        UserError: If one is missing between the others, or there twice.
    """
    channel = re.compile(rf"{re.escape(name)}_\d{{4}}")
    found = by_stem(file for file in there if channel.fullmatch(stem(file)))
    wanted = [f"{name}_{number:04d}" for number in range(len(found))]
    if missing := [each for each in wanted if each not in found]:
        last = max(found)
        raise UserError(
            f"{found[last].parent} holds {last} but not {missing[0]}; a case needs all its channels"
        )
    return [found[each] for each in wanted]
