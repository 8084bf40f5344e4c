"""run.log tells of a run all that a report of a fault needs, and no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import small

from mots_pretrained.cli import main
from mots_pretrained.files import RUN_LOG
from mots_pretrained.images.nifti import write_nifti
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.networks import build


def told(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / RUN_LOG).read_text("utf-8").splitlines()]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    voxels = np.random.default_rng(0).integers(-1000, 1000, (8, 8, 8)).astype("int16")
    scan = Volume.with_spacing(voxels, (6.0, 4.0, 4.0))
    (tmp_path / "scans").mkdir()
    for name in ("a", "b"):
        write_like(tmp_path / "scans" / f"{name}.nii.gz", scan.array, scan, dtype="int16")
    build(small()).save_pretrained(tmp_path / "net")
    return tmp_path


def predict(root: Path, *more: str, scan: str = "scans", out: str = "out") -> int:
    words = ["-i", str(root / scan), "-o", str(root / out), "-m", str(root / "net")]
    return main(["predict", *words, "--device", "cpu", *more])


def test_a_folder_of_scans_leaves_a_log_of_stages_memory_and_environment(
    scans, monkeypatch, capsys
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setenv("MY_PASSWORD", "swordfish")
    monkeypatch.setenv("HF_TOKEN", "a-token-of-any-form")
    assert predict(scans, "--tasks", "liver", "-q") == 0
    start, *stages, end = told(scans / "out")
    assert start["event"] == "start"
    assert start["command"][:3] == ["mots", "predict", "-i"]
    assert set(start["packages"]) >= {"torch", "numpy", "nibabel"}
    assert start["environment"]["CUDA_VISIBLE_DEVICES"] == "7"
    assert "MY_PASSWORD" not in start["environment"]
    names = [(one["stage"], one.get("scan")) for one in stages if one["event"] == "stage"]
    assert names[0] == ("load", None)
    assert {*names[1:]} == {(s, n) for s in ("read", "segment", "write") for n in ("a", "b")}
    assert all(one["seconds"] >= 0 for one in stages if one["event"] == "stage")
    assert (end["event"], end["status"]) == ("end", 0)
    assert end["peak_mb"]["process"] > 50
    text = (scans / "out" / RUN_LOG).read_text()
    assert "swordfish" not in text
    assert "a-token-of-any-form" not in text


def test_a_second_run_is_added_and_a_failure_told_with_its_traceback(scans, monkeypatch, capsys):
    assert predict(scans, "-q") == 0
    before = len(told(scans / "out"))
    from mots_pretrained.inference import cohort_table

    def broken(folder: object) -> None:
        raise RuntimeError("no luck with hf_abcdefghijklmnop")

    monkeypatch.setattr(cohort_table, "write_cohort", broken)
    assert predict(scans, "-q") == 1
    end = told(scans / "out")[-1]
    assert len(told(scans / "out")) > before
    assert (end["status"], end["error"]) == (1, "RuntimeError: no luck with hf_***")
    assert "in broken" in end["traceback"]


def test_a_refused_run_leaves_nothing(scans, capsys):
    (scans / "out").mkdir()
    assert predict(scans, "--overlap", "3") == 2
    assert predict(scans, "--tasks", "nothing") == 2
    assert predict(scans, scan="nowhere") == 2
    assert [*(scans / "out").iterdir()] == []


def test_one_scan_leaves_no_log_but_shows_its_stages_when_asked(scans, capsys):
    assert predict(scans, "-v", scan="scans/a.nii.gz") == 0
    assert not (scans / "out" / RUN_LOG).exists()
    shown = capsys.readouterr().err
    assert "segment a: " in shown
    assert predict(scans, scan="scans/a.nii.gz") == 0
    assert "segment a: " not in capsys.readouterr().err


def test_trainings_and_preparations_leave_one(tmp_path, capsys):
    root, prepared, model = (tmp_path / name for name in ("root", "prepared", "model"))
    for part in ("imagesTr", "labelsTr"):
        (root / "Task09_Spleen" / part).mkdir(parents=True)
        for number in (2, 3, 4):
            voxels = np.random.default_rng(number).integers(-1000, 400, (12, 12, 8))
            stored = (
                voxels.astype(np.int16) if part == "imagesTr" else (voxels > 0).astype(np.uint8)
            )
            path = root / "Task09_Spleen" / part / f"spleen_{number}.nii.gz"
            write_nifti(path, stored, np.diag([4.0, 4.0, 6.0, 1.0]))
    words = ["--split", "seeded", "--contract", "transdodnet.phantom", "--workers", "1", "-q"]
    prepared.mkdir()
    (prepared / RUN_LOG).touch()  # of a run that got no further
    for _ in range(2):
        assert main(["prepare", "-i", str(root), "-o", str(prepared), *words]) == 0
    stages = [one.get("stage") for one in told(prepared) if one["event"] == "stage"]
    assert stages == ["prepare", "prepare"]
    words = ["--set", "steps=1", "--set", "batch=1", "--workers", "0", "--device", "cpu", "-q"]
    assert main(["pretrain", "-i", str(prepared), "-o", str(model), *words]) == 0
    events = [one.get("stage", one["event"]) for one in told(model)]
    assert events[0] == "start"
    assert events[-1] == "end"
    assert "train" in events


@pytest.mark.parametrize("srun", [True, False])
def test_of_the_processes_of_a_training_the_main_one_alone_keeps_a_log(srun, monkeypatch):
    """Before anything has joined them; those that predict share no output, or parts of one."""
    from mots_pretrained.cli.run_log import _is_logged

    names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS") if srun else ("PMI_RANK", "PMI_SIZE")
    monkeypatch.setenv(names[1], "2")
    options = {"output": "out"}
    for rank, logged in (("0", True), ("1", False)):
        monkeypatch.setenv(names[0], rank)
        assert _is_logged("pretrain", options) is logged
        assert _is_logged("finetune", options) is logged
        assert _is_logged("prepare", options)
