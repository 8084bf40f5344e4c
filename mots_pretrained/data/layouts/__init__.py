"""How data sets lie on disk: the collections of MOTS, and folders of labelled or bare scans.

``LAYOUTS`` lists every layout; each module has one function that finds it in a folder.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mots_pretrained.data.layouts.auto3dseg import read_input
from mots_pretrained.data.layouts.bcv import find_bcv
from mots_pretrained.data.layouts.brats import find_brats
from mots_pretrained.data.layouts.collection import (
    CaseFiles,
    Classes,
    Collection,
    Fold,
    after_folder,
    folders_below,
)
from mots_pretrained.data.layouts.datalist import DATALIST, find_datalist, read_datalist
from mots_pretrained.data.layouts.described import read_described
from mots_pretrained.data.layouts.kits import WANTED as KITS_WANTED
from mots_pretrained.data.layouts.kits import find_kits
from mots_pretrained.data.layouts.labelled import tell_labelled
from mots_pretrained.data.layouts.lits import WANTED as LITS_WANTED
from mots_pretrained.data.layouts.lits import find_lits
from mots_pretrained.data.layouts.masks import find_masks
from mots_pretrained.data.layouts.msd import WANTED as MSD_WANTED
from mots_pretrained.data.layouts.msd import find_msd
from mots_pretrained.data.layouts.nnunet import DESCRIPTION, SPLITS, find_nnunet, read_splits
from mots_pretrained.data.layouts.pairs import find_pairs
from mots_pretrained.errors import MissingFileError, UnknownNameError, UserError
from mots_pretrained.images.itk import common_segments
from mots_pretrained.images.scan_files import (
    is_named_label_map,
    is_seg_nrrd,
    list_volumes,
    tell_unreadable,
    visible_folders,
)
from mots_pretrained.parse import LABELLED, read_labelled
from mots_pretrained.tasks import MOTS_TASKS

__all__ = [
    "LAYOUTS",
    "CaseFiles",
    "Classes",
    "Collection",
    "Fold",
    "Layout",
    "find_bare",
    "find_collections",
    "find_labelled",
]


@dataclass(frozen=True)
class Layout:
    """How a collection lies on disk.

    Attributes:
        find: Returns the collection that a folder holds in this layout, or None.
        wanted: The layout in words.
    """

    find: Callable[[Path], Collection | None]
    wanted: str


LAYOUTS: dict[str, Layout] = {
    "datalist": Layout(find_datalist, f"a {DATALIST} (MONAI)"),
    "nnunet": Layout(find_nnunet, "a dataset.json (Decathlon, nnU-Net)"),
    "bcv": Layout(find_bcv, "img/imgNNNN.nii.gz and label/labelNNNN.nii.gz (BCV)"),
    "pairs": Layout(find_pairs, "images/ and labels/"),
    "brats": Layout(find_brats, "HGG/ and LGG/ (BraTS)"),
    "masks": Layout(find_masks, "CASE/ct.nii.gz with CASE/segmentations/ (TotalSegmentator)"),
    "msd": Layout(find_msd, MSD_WANTED),
    "kits": Layout(find_kits, KITS_WANTED),
    "lits": Layout(find_lits, LITS_WANTED),
}
"""Every layout by name, in the order in which a folder is tried."""

_FILES: dict[str, Callable[[Path], Collection]] = {
    ".json": read_datalist,
    ".yaml": read_input,
    ".yml": read_input,
}  # what reads a file that is given in place of a folder

_MOTS = dict.fromkeys((task.name for task in MOTS_TASKS), ("msd",)) | {
    "liver": ("lits", "msd"),
    "kidney": ("kits",),
}  # the layouts of each collection


def find_collections(
    root: Path | None,
    *,
    named: Mapping[str, Path] | None = None,
    descriptions: Sequence[Path] = (),
) -> tuple[Collection, ...]:
    """Find the collections of MOTS, and others by their descriptions.

    Args:
        root: Folder in which, or up to two levels below, the collections lie; those that it does
            not hold are not in the result. None to take only what is named or described.
        named: Folder by task name, for collections that lie elsewhere; they come instead of those
            below the root.
        descriptions: YAML files of further collections (see `described.read_described`).

    Returns:
        The collections in the order of Table 1, then the described ones. No voxel is read.

    Raises:
        UnknownNameError: If ``named`` names a task that is none of the seven.
        MissingFileError: If a folder is missing, or holds no collection.
        UserError: If a collection lies there twice or by half, or two share a name.

    Warns:
        UserWarning: If folders below the root may not be read, which are passed over.
    """
    named = named or {}
    for task in named:
        if task not in _MOTS:
            raise UnknownNameError(f"unknown task {task!r}; there are: {', '.join(_MOTS)}")
    wanted = [task for task in _MOTS if task not in named]
    by_task = {} if root is None else _below(root, wanted)
    for task, folder in named.items():
        own = _below(folder, [task])
        if not own:
            raise MissingFileError(
                f"{folder} does not hold the {task} collection; looked for: "
                f"{'; '.join(LAYOUTS[name].wanted for name in _MOTS[task])}"
            )
        by_task |= own
    found = [by_task[task] for task in _MOTS if task in by_task]
    if root is not None and not found and not descriptions:
        looked = "; ".join(LAYOUTS[name].wanted for name in ("kits", "lits", "msd"))
        raise MissingFileError(
            f"{root} holds none of the seven collections of MOTS; looked for: {looked}"
        )
    found += [read_described(path) for path in descriptions]
    _check_names(found)
    return tuple(found)


def find_labelled(data: str | os.PathLike[str]) -> Collection:
    """Find the labelled cases of one folder in any layout of ``LAYOUTS``; no voxel is read.

    - MONAI: ``datalist.json``, or in place of the folder the path of such a list, or of an
      ``input.yaml`` of Auto3DSeg.
    - Decathlon or nnU-Net: ``dataset.json``, ``imagesTr`` and ``labelsTr``; one file a channel
      (``X_0000.nii.gz``, ``X_0001.nii.gz``) or all in one.
    - BCV: ``img/imgNNNN.nii.gz`` and ``label/labelNNNN.nii.gz``, 13 organs.
    - Plain: ``images`` and ``labels``, or ``img`` and ``label``, with the same file names; classes
      are named by the segments where all label maps are 3D Slicer's ``.seg.nrrd``.
    - BraTS 2018: ``HGG/CASE/CASE_t1.nii.gz`` and so on, ``LGG`` likewise, three nested regions.
    - TotalSegmentator: ``CASE/ct.nii.gz`` and ``CASE/segmentations/ORGAN.nii.gz``.
    - KiTS and LiTS as they unpack, with the classes of their task.

    Where cases label different classes, a table ``labelled.csv`` in the folder says so, or
    ``labelled`` in ``dataset.json`` or ``datalist.json``, or the masks that a case has. Folds are
    those of the data list, or of nnU-Net's ``splits_final.json`` in the folder.

    Returns:
        The labelled cases alone, with the classes that the folder names.

    Raises:
        MissingFileError: If there is no such folder or file.
        UserError: If the layout is unknown, no case has labels, or 3D Slicer's segmentations number
            their segments differently; the message names one.

    Warns:
        UserWarning: If some cases have no labels; the message names one.
    """
    found = _found(Path(data))
    folder = found.folder
    if (folder / LABELLED).is_file():
        if any(case.labelled is not None and not case.masks for case in found.cases):
            raise UserError(
                f"{folder / LABELLED} and a JSON file ({DESCRIPTION}, {DATALIST}) both tell which "
                "classes cases label; take one away"
            )
        found = tell_labelled(found, read_labelled(folder / LABELLED), folder / LABELLED)
    if (folder / SPLITS).is_file():
        found = _with_splits(found, folder / SPLITS)
    bare = [case for case in found.cases if not case.label_files]
    if bare and not found.labelled:
        raise UserError(f"{bare[0].images[0]} has no label map, nor has any other of {folder}")
    if bare:
        warnings.warn(
            f"{len(bare)} of {len(found.cases)} cases have no label map and are left out, such as "
            f"{bare[0].images[0]}",
            stacklevel=2,
        )
    maps = [case.label for case in found.labelled if case.label is not None]
    segments = common_segments(filter(is_seg_nrrd, maps))  # refuses values that differ by file
    classes = found.classes
    if classes is None and segments and all(map(is_seg_nrrd, maps)):
        classes = {name: (segments[name],) for name in sorted(segments, key=segments.__getitem__)}
    elif classes is None and found.task is not None:
        task = found.task
        both = ((task.tumour, task.tumour_values), (task.organ, task.organ_values))
        classes = {name: values for name, values in both if name is not None}
    return dataclasses.replace(found, cases=found.labelled, classes=classes)


def find_bare(folder: str | os.PathLike[str]) -> Collection:
    """Find all NIfTI, NRRD and MetaImage scans below a folder, none of which needs a label.

    Raises:
        MissingFileError: If there is no such folder, or no scan in it.

    Warns:
        UserWarning: If files are label maps by their names, or folders may not be read; both are
            left out.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFileError(f"no such folder: {folder}; give a folder of NIfTI files")
    places, unreadable = visible_folders(folder)
    tell_unreadable(unreadable, folder)
    found = sorted(path for place in places for path in list_volumes(place))
    labels = [path for path in found if is_named_label_map(path, folder)]
    files = sorted({*found} - {*labels})
    if labels:
        warnings.warn(
            f"{len(labels)} of {len(found)} files below {folder} are label maps by their names and "
            f"are left out, such as {labels[0]}",
            stacklevel=2,
        )
    if not files:
        raise MissingFileError(
            f"{folder} holds no scan at any depth; training reads NIfTI, NRRD and MetaImage files "
            "(.nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd), no DICOM"
        )
    cases = tuple(CaseFiles(path.relative_to(folder).as_posix(), (path,)) for path in files)
    return Collection(after_folder(folder.name), folder, cases)


def _found(data: Path) -> Collection:
    """Find the cases of a folder in the first layout that is its own, or of a data list."""
    read = _FILES.get(data.suffix.lower())
    if read is not None and not data.is_dir():
        return read(data)
    if not data.is_dir():
        raise MissingFileError(f"no such folder: {data}")
    found = next((c for layout in LAYOUTS.values() if (c := layout.find(data))), None)
    if found is None:
        wanted = ", ".join(layout.wanted for layout in LAYOUTS.values())
        raise UserError(
            f"{data} holds no labelled scans in a known layout; wanted is one of: {wanted}"
        )
    return found


def _with_splits(found: Collection, path: Path) -> Collection:
    """Return a collection with the folds of nnU-Net's file."""
    if found.folds:
        raise UserError(f"{path} and the data list both tell folds; take one away")
    folds = tuple(read_splits(path))
    names = {case.name for case in found.labelled}
    for fold in folds:
        for verb, part in (("holds out", fold.held_out), ("trains on", fold.train)):
            if unknown := [name for name in part if name not in names]:
                raise UserError(f"{path} {verb} {unknown[0]!r:.80}, which is no labelled case here")
    return dataclasses.replace(found, folds=folds)


def _below(root: Path, tasks: Sequence[str]) -> dict[str, Collection]:
    """Find the collections of some tasks in a folder and below it."""
    found: dict[str, Collection] = {}
    lits = find_lits(root) if "liver" in tasks else None
    if lits is not None:
        found["liver"] = lits
    unreadable: list[Path] = []
    for folder in folders_below(root, unreadable=unreadable):
        for name in ("kits", "msd"):
            collection = LAYOUTS[name].find(folder)
            if collection is None or collection.name not in tasks:
                continue
            other = found.setdefault(collection.name, collection)
            if other is not collection:
                task = collection.name
                raise UserError(
                    f"the {task} collection lies in both {other.folder} and {folder}; take one "
                    f"away, or name the right one with --{task.replace('_', '-')}"
                )
    if lits is None:  # else it has told of them
        tell_unreadable(unreadable, root)
    return found


def _check_names(collections: Sequence[Collection]) -> None:
    names: set[str] = set()
    cases: dict[str, str] = {}
    for collection in collections:
        if collection.name in names:
            raise UserError(
                f"two collections supervise {collection.name!r}; "
                "give the described one another name"
            )
        names.add(collection.name)
        for case in collection.cases:
            other = cases.setdefault(case.name, collection.name)
            if other != collection.name:
                raise UserError(
                    f"{case.name} is a case of {other} and of {collection.name}; give the "
                    "described collection another name"
                )
