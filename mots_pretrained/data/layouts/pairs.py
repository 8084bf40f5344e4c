"""Plain folders of images and labels, paired by what the files' names have in common."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from mots_pretrained.data.layouts.collection import CaseFiles, Collection, after_folder
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.images.scan_files import list_volumes, stem

_PLAIN = (("images", "labels"), ("imagesTr", "labelsTr"), ("image", "label"), ("img", "label"))


def find_pairs(folder: Path) -> Collection | None:
    """Find ``images/NAME.nii.gz`` with ``labels/NAME.nii.gz``, or the like; None if not there.

    Raises:
        UserError: If there is no image, or one without its label; the message names it.
    """
    for images, labels in _PLAIN:
        if (folder / images).is_dir() and (folder / labels).is_dir():
            cases = pair_files(folder / images, folder / labels)
            return Collection(after_folder(folder.name), folder, cases)
    return None


def pair_files(images: Path, labels: Path) -> tuple[CaseFiles, ...]:
    """Pair images with label maps; several files of a case, ``X_0000``, ``X_0001``, are channels.

    Raises:
        MissingFileError: If one of the two folders is missing.
        UserError: If there is no image, one without its label, two of one channel, or cases that
            have different channels; the message names it.

    Warns:
        UserWarning: If a label map has no image; the message names it.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise MissingFileError(f"no such folder: {folder}")
    true: dict[str, Path] = {}
    for path in list_volumes(labels):
        other = true.setdefault(_key(path), path)
        if other != path:
            raise UserError(f"{other} and {path} are both of {_key(path)}; keep one of them")
    groups: dict[str, dict[str, Path]] = {}
    for path in list_volumes(images):
        key, number = _key(path), ""
        if key not in true and (channel := re.fullmatch(r"(.+)_(\d{4})", key)):
            key, number = channel.groups()
        if key not in true:
            raise UserError(f"{path} has no label of its name in {labels}")
        other = groups.setdefault(key, {}).setdefault(number, path)
        if other != path:
            raise UserError(f"{other} and {path} are both of {key}; keep one of them")
    if not groups:
        raise UserError(
            f"{images} holds no .nii or .nii.gz, .nrrd or .mha file; training reads no DICOM"
        )
    _check_channels(groups)
    bare = [path for key, path in true.items() if key not in groups]
    if bare:
        more = f" (nor have {len(bare) - 1} more)" if len(bare) > 1 else ""
        warnings.warn(f"{bare[0]} has no image in {images}{more}; left out", stacklevel=2)
    return tuple(
        CaseFiles(case_name([*group.values()], true[key]), tuple(group.values()), true[key])
        for key, group in groups.items()
    )


def _check_channels(groups: dict[str, dict[str, Path]]) -> None:
    """Refuse cases of as many channels, but not the same ones: one would be taken for another."""
    known = {len(group): group for group in reversed(groups.values())}
    for group in groups.values():
        usual = known[len(group)]
        if group.keys() != usual.keys():
            files = [", ".join(path.name for path in one.values()) for one in (group, usual)]
            raise UserError(
                f"{next(iter(group.values())).parent} holds {files[0]} of one case and {files[1]} "
                "of another; every case needs the same channels"
            )


def case_name(images: list[Path] | tuple[Path, ...], label: Path) -> str:
    """Name a case after its one image, or after its label where each channel has a file.

    nnU-Net's ``a_0000.nii.gz`` is the one channel of ``a``, as its splits call the case.
    """
    one = len(images) == 1 and stem(images[0]) != f"{stem(label)}_0000"
    return stem(images[0]) if one else stem(label)


def _key(path: Path) -> str:
    return re.sub(r"^(img|image|label)(?=\d)", "", stem(path))
