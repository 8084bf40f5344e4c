"""Small original scans with label maps, to be prepared, and folders compared byte for byte."""

from __future__ import annotations

import numpy as np

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.layouts import (
    CaseFiles,
    Collection,
)
from mots_pretrained.data.prepare import Preparation
from mots_pretrained.images.nifti import write_nifti
from mots_pretrained.tasks import task_named

LIVER = task_named("liver")
FINE = Preparation(Preprocessing(spacing=(3.0, 2.0, 1.0)), "seeded")
COARSE = Preparation(Preprocessing(spacing=(6.0, 4.0, 2.0)), "seeded")


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.name != "run.log"  # it tells the time of day
    }


def write(folder, name, labels, *, image=None, axes=("L", "A", "S")):
    """Write a scan and its label map, both given canonically, their axes turned; 3 x 2 x 1 mm."""
    import nibabel as nib

    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt(("S", "P", "L")), nib.orientations.axcodes2ornt(axes)
    )
    affine = np.diag([3.0, 2.0, 1.0, 1.0])[[2, 1, 0, 3]] * [[-1], [-1], [1], [1]]
    affine = affine @ nib.orientations.inv_ornt_aff(turn, labels.shape)
    if image is None:
        image = np.random.default_rng(len(name)).integers(-1000, 1000, labels.shape)
    for kind, array in (("image", image.astype(np.int16)), ("label", labels.astype(np.uint8))):
        turned = nib.orientations.apply_orientation(array, turn)
        write_nifti(folder / f"{name}_{kind}.nii.gz", np.ascontiguousarray(turned), affine)


def collection(folder, names, task=LIVER):
    return Collection(
        task.name,
        folder,
        tuple(
            CaseFiles(n, (folder / f"{n}_image.nii.gz",), folder / f"{n}_label.nii.gz")
            for n in names
        ),
        task,
    )
