"""The built wheel, alone in a fresh environment, without network: it loads and predicts."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import Volume, write_like

ROOT = Path(__file__).parents[1]

_ISOLATED = """
import socket
def refuse(*words): raise OSError("no network here")
socket.socket.connect = refuse
import mots_pretrained as mots
assert {wheel!r} in mots.__file__, mots.__file__
prediction = mots.Predictor(mots.load("transdodnet.phantom"))({scan!r})
prediction.save({out!r})
from mots_pretrained.report.html import asset
assert "Niivue" in asset("niivue.js") and "BSD 2-Clause" in asset("NIIVUE_LICENSE")
"""


@pytest.mark.long
def test_the_wheel_alone_loads_and_predicts(tmp_path):
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next((venv / "lib").glob("python*/site-packages"))
    words = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target"]
    subprocess.run([*words, str(site), str(wheel)], check=True, capture_output=True)
    # The libraries are this environment's: searched after, and without its .pth files, so that
    # no editable checkout of the package is found.
    (site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    image = np.random.default_rng(0).normal(0, 100, (20, 40, 40)).astype(np.int16)
    scan = Volume.with_spacing(image, (4.0, 3.0, 3.0))
    write_like(tmp_path / "ct.nii.gz", scan.array, scan, dtype=np.int16)
    out = str(tmp_path / "seg.nii.gz")
    text = _ISOLATED.format(wheel=str(site), scan=str(tmp_path / "ct.nii.gz"), out=out)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    python = str(venv / "bin" / "python")
    subprocess.run([python, "-c", text], cwd=tmp_path, env=kept, check=True, capture_output=True)
    labels = read_volume(out).array
    assert labels.shape == scan.array.shape
    assert labels.max() <= 11
