"""A bundle runs by MONAI's own command and gives the predictor's labels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from small_networks import small

from mots_pretrained.export.monai_bundle import export_bundle
from mots_pretrained.images.resample import resample
from mots_pretrained.images.volume import Volume, affine_of, write_like
from mots_pretrained.inference import Predictor
from mots_pretrained.networks import build


def test_only_segmenters_of_ct_become_bundles(tmp_path):
    with pytest.raises(ValueError, match="not of a transdodnet; mots finetune makes one"):
        export_bundle(build(small()), tmp_path)


def stored(folder: Path, name: str, spacing, shape, turn: float = 0.0) -> Path:
    """A smooth scan that is finer than the contract, turned about its long axis."""
    coarse = np.random.default_rng(0).normal(0, 250, tuple(n // 6 + 2 for n in shape))
    array = resample(coarse, shape).astype(np.int16)
    array[0] = -1000
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    volume = Volume(array, rotation @ affine_of(spacing))
    folder.mkdir(exist_ok=True)
    write_like(folder / name, array, volume, dtype=np.int16)
    return folder / name


def dice(one, other) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.long
def test_monai_runs_the_bundle_and_agrees_with_the_predictor(tmp_path):
    torch.manual_seed(0)
    network = build(small("segmenter", class_values=((7,), (3,)))).eval()
    with torch.no_grad():
        network.head.weight *= 5  # a random head decides for one class almost everywhere
    bundle = tmp_path / "bundle"
    config = export_bundle(network, bundle)
    scans = tmp_path / "scans"
    # of several windows, and to be resampled
    stored(scans, "fine.nii.gz", (3.0, 2.0, 2.5), (60, 100, 110))
    stored(scans, "oblique.nii.gz", (2.5, 1.7, 1.7), (48, 90, 100), 0.2)
    stored(scans, "thin.nii.gz", (5.0, 4.0, 4.0), (8, 40, 40))
    given = {"bundle_root": bundle, "dataset_dir": scans, "output_dir": tmp_path / "out"}
    told = {"config_file": str(config), **{name: str(path) for name, path in given.items()}}
    # What ``python -m monai.bundle run`` calls once its command line is parsed, by another package.
    words = [sys.executable, "-c", f"import monai.bundle; monai.bundle.run(**{told!r})"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for path in sorted(scans.iterdir()):
        found = nib.load(tmp_path / "out" / path.name.replace(".nii.gz", "_seg.nii.gz"))
        prediction = Predictor(network)(path)
        expected = prediction.volume.restore(prediction.labels)
        np.testing.assert_allclose(found.affine, nib.load(path).affine)
        values = np.asarray(found.dataobj)
        assert {*np.unique(values)} == {0, 3, 7}
        for value in (3, 7):
            assert dice(values == value, expected == value) > 0.999
