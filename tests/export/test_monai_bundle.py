"""A bundle runs by MONAI's own command and gives the predictor's labels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import SIZE, small

from mots_pretrained.export.monai_bundle import export_bundle
from mots_pretrained.images.volume import Volume, read_volume, write_like
from mots_pretrained.inference import Predictor
from mots_pretrained.networks import build


def test_only_segmenters_of_ct_become_bundles(tmp_path):
    with pytest.raises(ValueError, match="not of a transdodnet; mots finetune makes one"):
        export_bundle(build(small()), tmp_path)


@pytest.mark.long
def test_monai_runs_the_bundle_and_agrees_with_the_predictor(tmp_path):
    pytest.importorskip("monai")
    torch.manual_seed(0)
    network = build(small("segmenter")).eval()
    bundle = tmp_path / "bundle"
    config = export_bundle(network, bundle)
    scans = tmp_path / "scans"
    scans.mkdir()
    # One window, since MONAI weighs the edges of several more than Sec. 4.1's Gaussian does.
    ramp = np.linspace(-300, 300, SIZE[2])
    image = np.random.default_rng(0).normal(ramp, 80, SIZE).astype(np.int16)
    scan = Volume.with_spacing(image, (6.0, 4.0, 4.0))  # no resampling, so that labels are exact
    write_like(scans / "ct.nii.gz", scan.array, scan, dtype=np.int16)
    given = {"bundle_root": bundle, "dataset_dir": scans, "output_dir": tmp_path / "out"}
    told = {"config_file": str(config), **{name: str(path) for name, path in given.items()}}
    # What ``python -m monai.bundle run`` calls once its command line is parsed, by another package.
    words = [sys.executable, "-c", f"import monai.bundle; monai.bundle.run(**{told!r})"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (written,) = (tmp_path / "out").rglob("*.nii.gz")
    found = read_volume(written)
    expected = Predictor(network)(scans / "ct.nii.gz").labels
    assert found.spacing == pytest.approx((6, 4, 4))
    assert found.array.shape == scan.array.shape
    assert len(np.unique(found.array)) > 1
    assert (found.array == np.asarray(expected)).mean() > 0.999
