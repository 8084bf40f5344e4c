"""What is bit-equal to what: docs/determinism.md, line by line."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from prepared_folder import write_prepared
from small_networks import small

from mots_pretrained.cli import main
from mots_pretrained.errors import UserError
from mots_pretrained.files import write_text
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference.predictor import Predictor
from mots_pretrained.networks import build
from mots_pretrained.training import machine
from mots_pretrained.training.machine import compute_deterministically
from mots_pretrained.training.recipe import Recipe, to_yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "determinism.md").read_text("utf-8")


@pytest.fixture(autouse=True)
def _put_back(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "unset")
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def test_every_line_of_the_page_is_a_test_or_marked_as_not_promised():
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(rows) >= 12
    for row in rows:
        promised, held = (cell.strip() for cell in row.strip("|").split("|")[-2:])
        if promised != "yes":
            assert promised in ("not promised", "refused"), row
            continue
        path, name = re.fullmatch(r"`(tests/[\w/]+\.py)::(\w+)`", held).groups()
        assert f"def {name}(" in (ROOT / path).read_text("utf-8"), row


def trained(tmp_path: Path, name: str, *more: str) -> str:
    """Train two steps by the command line; return the digest of the weights."""
    if not (tmp_path / "data").exists():
        tiny = small()
        write_prepared(tmp_path / "data", tiny.preprocessing, {"liver": 4})
        write_text(tmp_path / "tiny.yaml", to_yaml(Recipe(network=tiny, steps=2, batch=1)))
    words = ["pretrain", "-i", str(tmp_path / "data"), "-o", str(tmp_path / name), "-q"]
    words += ["--recipe", str(tmp_path / "tiny.yaml"), "--device", "cpu", *more]
    assert main(words) == 0
    return hashlib.sha256((tmp_path / name / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a single core
def test_trainings_and_workers_give_the_same_bits(tmp_path, capsys):
    first = trained(tmp_path, "one", "--workers", "0", "--deterministic")
    assert trained(tmp_path, "two", "--workers", "2", "--deterministic") == first
    assert torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    assert trained(tmp_path, "three", "--workers", "0") == first  # on a CPU it always is
    assert trained(tmp_path, "other", "--workers", "0", "--set", "seed=1") != first


def test_predictions_give_the_same_bits():
    torch.manual_seed(0)
    network = build(small()).eval()
    voxels = np.random.default_rng(0).integers(-1000, 1000, (20, 40, 70)).astype("int16")
    scan = Volume.with_spacing(voxels, (6.0, 4.0, 4.0))
    found = [Predictor(network, device="cpu")(scan) for _ in range(2)]
    assert np.array_equal(found[0].labels, found[1].labels)
    assert found[0].volumes == found[1].volumes


def test_phantoms_do_not_depend_on_the_process():
    code = (
        "import hashlib; from mots_pretrained.phantom.torso import torso\n"
        "made = torso(3, shape=(16, 24, 24), randomise=0.5)\n"
        "print(hashlib.sha256(made.image.tobytes() + made.labels.tobytes()).hexdigest())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, check=True, cwd=ROOT,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(told) == 1


def test_training_on_a_gpu_is_refused_rather_than_promised():
    with pytest.raises(UserError, match="no deterministic form on cuda"):
        compute_deterministically("cuda", training=True)
    assert not torch.are_deterministic_algorithms_enabled()


def test_predicting_on_a_gpu_takes_deterministic_kernels(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    compute_deterministically("cuda:0")
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert machine.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
