"""Label maps to score: a liver, predictions beside their truth."""

import numpy as np

from mots_pretrained.images.volume import Volume, write_like

LIVER = np.zeros((4, 4, 4), np.uint8)
LIVER[:2] = 1


def write(path, array, spacing=(3.0, 2.0, 1.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_like(path, array, Volume.with_spacing(array, spacing))
    return path


def cases(results):
    return {case.name: case.scores for case in results.cases}


def folders(tmp_path):
    write(tmp_path / "out/img0001_seg.nii.gz", LIVER)
    write(tmp_path / "out/img0002_seg.nii.gz", np.roll(LIVER, 1, axis=0))
    write(tmp_path / "truth/label0001.nii.gz", LIVER)
    write(tmp_path / "truth/label0002.nii.gz", LIVER)
    write(tmp_path / "truth/label0003.nii.gz", LIVER)
    return tmp_path / "out", tmp_path / "truth"
