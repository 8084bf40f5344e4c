"""``mots predict`` over a folder: parts, what is skipped, a run that is killed in its middle."""

from __future__ import annotations

import csv
import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scans_to_predict import CONFIG, ct, save

import mots_pretrained as mots
from mots_pretrained.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    mots.build(CONFIG).save_pretrained(folder)
    return str(folder)


def scans(folder: Path, count: int) -> Path:
    """Noise of so many scans."""
    folder.mkdir()
    for number in range(count):
        save(folder / f"s{number:02d}.nii.gz", ct((40, 40, 20), number))
    return folder


def predict(model: str, *words: str, status: int = 0) -> None:
    assert main(["predict", "-o", "out", "-m", model, "-q", *words]) == status


def test_parts_and_what_is_there_already(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    scans(tmp_path / "in", 3)
    monkeypatch.chdir(tmp_path)
    more = ("-i", "in", "--no-picture", "--probabilities")
    predict(model, *more, "--part", "2/2")
    assert sorted(p.name for p in Path("out").glob("s*")) == [
        f"s01_{what}" for what in ("probabilities.npz", "seg.nii.gz", "volumes.json")
    ]
    before = {p: p.stat().st_mtime_ns for p in Path("out").glob("s01*")}
    capsys.readouterr()
    predict(model, *more, "--skip-existing", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["skipped"] == ["s01"]
    assert [scan["scan"] for scan in told["scans"]] == ["s00", "s02"]
    assert {p: p.stat().st_mtime_ns for p in Path("out").glob("s01*")} == before
    with open("out/cohort.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 11
    with np.load("out/s00_probabilities.npz") as kept:
        assert kept["probabilities"].shape[0] == 11
        assert kept["probabilities"].dtype == np.float16
    assert main(["predict", "-i", "in", "-o", "out", "-m", model, "--part", "3/2"]) == 2
    assert "a part is written as 2/8" in capsys.readouterr().err


def test_what_is_there_already_is_no_failure(tmp_path, model, monkeypatch, capsys):
    """It failed in a second run, which left the first one's results."""
    scans(tmp_path / "in", 2)
    monkeypatch.chdir(tmp_path)
    predict(model, "-i", "in", "--no-picture")
    Path("out/failures.csv").write_text("file,kind,reason\ns00.nii.gz,MemoryError,too large\n")
    predict(model, "-i", "in", "--no-picture", "--skip-existing")
    assert not Path("out/failures.csv").exists()


def test_results_of_other_weights_of_the_same_name_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """A folder that was trained again, or got thresholds, was skipped as if nothing had changed."""
    scans(tmp_path / "in", 2)
    monkeypatch.chdir(tmp_path)

    def done(*words: str) -> int:
        predict("net", "-i", "in", "--no-picture", "--skip-existing", "--json", *words)
        return len(json.loads(capsys.readouterr().out)["scans"])

    mots.build(CONFIG).save_pretrained("net")
    assert (done(), done()) == (2, 0)
    mots.build(CONFIG).save_pretrained("net")
    assert main(["predict", "-o", "out", "-m", "net", "-i", "in", "--no-picture",
                 "--skip-existing", "--part", "1/2"]) == 0  # fmt: skip
    told = capsys.readouterr().out
    assert "1 of 1 scans have results of other weights or settings, or of a version" in told
    assert (done(), done()) == (1, 0)
    config = dataclasses.replace(CONFIG, thresholds={"liver": 0.25})
    Path("net/config.json").write_text(config.to_json())
    assert (done(), done()) == (2, 0)
    volumes = Path("out/s01_volumes.json")
    older = json.loads(volumes.read_text())
    assert len(older.pop("weights_sha256")) == 64
    volumes.write_text(json.dumps(older))
    assert (done(), done()) == (1, 0)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "run.log"  # which tells of times
    }


@pytest.mark.long
@pytest.mark.parametrize("count", [8, 20])
def test_a_run_that_was_killed_goes_on_to_the_same_results(
    tmp_path: Path, model: str, count: int
) -> None:
    """Two of the scans are broken, and one is no CT."""
    folder = scans(tmp_path / "in", count)
    (folder / "s01.nii.gz").write_bytes(b"")
    broken = folder / f"s{count - 2:02d}.nii.gz"
    broken.write_bytes(broken.read_bytes()[:-1000])
    photo = np.random.default_rng(0).integers(0, 256, (40, 40, 20)).astype(np.uint8)
    save(folder / "s03.nii.gz", photo)
    words = [sys.executable, "-m", "mots_pretrained", "predict", "-i", "../in", "-o", "out"]
    words += ["-m", model, "-q"]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()

    def run(name: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*words, *more], cwd=tmp_path / name, capture_output=True, text=True, check=False
        )

    whole = run("whole")
    assert whole.returncode == 1
    process = subprocess.Popen(
        words, cwd=tmp_path / "killed", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    out = tmp_path / "killed" / "out"
    while len(list(out.glob("*_volumes.json"))) < 2 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(list(out.glob("*_volumes.json"))) < count - 2
    again = run("killed", "--skip-existing")
    assert again.returncode == 1
    assert contents(out) == contents(tmp_path / "whole" / "out")
    with open(out / "failures.csv", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["s01.nii.gz", broken.name]
    assert "2 of" in again.stderr
    assert "s03 does not look like a CT in Hounsfield units" in whole.stderr


def test_one_scan_predicted_again_is_renewed_in_the_folder_s_lists(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    folder = scans(tmp_path / "in", 2)
    (folder / "s02.nii.gz").write_bytes(b"broken")
    monkeypatch.chdir(tmp_path)
    predict(model, "-i", "in", "--no-picture", status=1)
    assert "s02" in Path("out/failures.csv").read_text()
    assert "s02" not in Path("out/cohort.csv").read_text()
    save(folder / "s02.nii.gz", ct((40, 40, 20), 2))
    predict(model, "-i", "in/s02.nii.gz", "--no-picture")
    assert not Path("out/failures.csv").exists()
    assert "s02" in Path("out/cohort.csv").read_text()
    assert main(["predict", "-i", "in/s00.nii.gz", "-o", "alone", "-m", model, "-q"]) == 0
    assert not Path("alone/cohort.csv").exists()
