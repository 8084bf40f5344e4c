"""From original layouts to a scored model: phantom, prepare, pretrain, evaluate, each a process."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small_networks import small

from mots_pretrained.config import Preprocessing
from mots_pretrained.methods import METHODS
from mots_pretrained.tasks import MOTS_CATEGORIES, MOTS_TASKS

CONTRACT = Preprocessing(spacing=(12.0, 10.0, 10.0), patch=(32, 32, 32), window=(32, 32, 32))


def mots(*words):
    command = [sys.executable, "-m", "mots_pretrained", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.timeout(900)
def test_four_commands_end_to_end(tmp_path: Path):
    root, prepared, model, trained = (tmp_path / name for name in ("mots", "data", "net", "out"))
    METHODS["transdodnet"](small(preprocessing=CONTRACT)).save_pretrained(model)

    mots("phantom", "mots", "-o", root, "--cases", 2, "--shape", 48, 64, 64, "-q")
    mots("prepare", "-i", root, "-o", prepared, "--contract", model, "--split", "seeded", "-q")
    records = json.loads((prepared / "prepared.json").read_text())["records"]
    split = {task.name: [] for task in MOTS_TASKS}
    for record in records:
        split[record["task"]].append(record["split"])
    assert all(sorted(parts) == ["test", "train"] for parts in split.values())

    words = ["pretrain", "-i", prepared, "-o", trained, "--from", model, "--device", "cpu"]
    sets = ["steps=30", "batch=1", "rate=0.003", "balance=balanced", "tensorboard=true"]
    words += ["--workers", "1", *(word for one in sets for word in ("--set", one))]
    shown = mots(*words)
    assert "tensors kept, 0 widened, 0 made new" in shown
    assert f"on 7 cases of {prepared}, 30 steps on cpu" in shown
    record = json.loads((trained / "training.json").read_text())
    assert (record["steps_done"], record["complete"], record["scans"]) == (30, True, 7)
    assert record["tasks"] == [task.name for task in MOTS_TASKS]
    rows = [line.split(",") for line in (trained / "log.csv").read_text().splitlines()]
    losses = [float(row[rows[0].index("total")]) for row in rows[1:]]
    assert losses[-1] < losses[0]
    assert list((trained / "tensorboard").iterdir())

    shown = mots("evaluate", "-i", prepared, "--model", trained, "--metrics", "dice", "--json")
    scores = json.loads(shown)
    assert len(scores["cases"]) == 7
    assert {*scores["dice"]} == {*MOTS_CATEGORIES}
    assert 0 <= scores["mean_dice"] <= 1

    again = replace(CONTRACT, spacing=(4.0, 3.0, 3.0))
    METHODS["transdodnet"](small(preprocessing=again)).save_pretrained(tmp_path / "other")
    words[words.index(model)] = tmp_path / "other"
    refused = subprocess.run(
        [sys.executable, "-m", "mots_pretrained", *map(str, words), "--resume"],
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 2
    assert "was prepared with spacing (12.0, 10.0, 10.0), the model expects" in refused.stderr
