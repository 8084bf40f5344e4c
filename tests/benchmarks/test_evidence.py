"""The queue of all comparisons: what it runs, and that it can be shared and killed."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mots_pretrained.files import locked
from mots_pretrained.training.recipe import Recipe


@pytest.fixture
def given(bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The command line of the queue, with its files in a temporary folder."""
    words = ["evidence.py", "--work", str(tmp_path / "work"), "--results", str(tmp_path / "r")]
    monkeypatch.setattr("sys.argv", [*words, "--look", "look.json"])
    return bench("evidence")._arguments()


def test_the_plan_has_every_table_and_the_seeds_that_are_asked_for(bench, given) -> None:
    jobs = [job for one in bench("evidence").benches(given) for job in one.jobs()]
    seeds: dict[str, set[int]] = {}
    for job in jobs:
        seeds.setdefault(job.table, set()).add(job.seed)
    assert seeds == {
        **{f"table{number:02d}": {0, 1} for number in range(2, 9)},
        **{name: {0, 1, 2} for name in ("table09", "table12")},
        **{f"table10_bcv_{count}": {0, 1, 2} for count in (1, 4, 12)},
        "carry_over": {0, 1},
    }
    steps = {job.table: job.trainings[0].recipe.steps for job in jobs if job.seed == 0}
    assert {steps[f"table{number:02d}"] for number in range(2, 9)} == {1000}
    nets = {job.row for job in jobs if job.table == "table09"}
    assert nets == {row.name for row in bench("tables").TABLES[-1].rows}
    few = next(t for t in bench("transfer").TRANSFERS if t.name == "table10_bcv_4")
    once = [(job.row, job.seed) for job in jobs if job.table == few.name]
    assert sorted(once) == sorted((row, seed) for row in few.rows for seed in range(3))
    pretrained = {
        training.recipe.steps
        for job in jobs
        if job.table.startswith("table1")
        for training in job.trainings[:-1]
    }
    assert pretrained == {3000}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", "TAL"], "leave out --rows"),
        (["--seeds", "5"], "at most --seeds 3"),
        (["--pretrain-steps", "9"], "leave out --rows and --pretrain-steps"),
        (["--setting", "paper"], "the setting paper has no number of steps to share out"),
    ],
)
def test_what_the_plan_does_not_take_is_refused(bench, monkeypatch, capsys, words, said) -> None:
    monkeypatch.setattr("sys.argv", ["evidence.py", "--list", *words])
    with pytest.raises(SystemExit) as ended:
        bench("evidence").main()
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


class Stub:
    """A table of three rows that need nothing but a moment."""

    def __init__(self, bench, done: list[str], folder: Path, ends: str = "") -> None:
        self.bench, self.done, self.folder, self.ends = bench, done, folder, ends

    def jobs(self) -> list:
        runner = self.bench("runner")
        shared = runner.Training(self.folder / "shared", "net", Recipe(steps=100))
        return [
            runner.Job(
                *("t", row, 0, (shared,) if row != "c" else ()),
                is_done=lambda row=row: row in self.done,
                do=lambda clock, row=row: row != self.ends and not self.done.append(row),
            )
            for row in "abc"
        ]


def queue(bench, given, monkeypatch, stub: Stub):
    evidence = bench("evidence")
    monkeypatch.setattr(evidence, "benches", lambda arguments: [stub])
    return evidence


def test_what_is_done_is_not_done_again(bench, given, monkeypatch, tmp_path: Path) -> None:
    done = ["b"]
    evidence = queue(bench, given, monkeypatch, Stub(bench, done, tmp_path))
    assert evidence.run(given)
    assert done == ["b", "a", "c"]


def test_what_another_process_holds_is_passed_over(
    bench, given, monkeypatch, tmp_path: Path
) -> None:
    done: list[str] = []
    evidence = queue(bench, given, monkeypatch, Stub(bench, done, tmp_path))
    with locked(Path(given.work) / "held" / "shared"):
        assert not evidence.run(given)
    assert done == ["c"]
    assert evidence.run(given)
    assert done == ["c", "a", "b"]


def test_the_queue_ends_when_time_is_up(bench, given, monkeypatch, tmp_path, capsys) -> None:
    done: list[str] = []
    evidence = queue(bench, given, monkeypatch, Stub(bench, done, tmp_path, ends="b"))
    assert not evidence.run(given)
    assert done == ["a"]
    assert "t b, seed 0: time is up" in capsys.readouterr().out


def test_a_training_that_rows_share_is_expected_once(
    bench, given, monkeypatch, tmp_path: Path
) -> None:
    evidence = queue(bench, given, monkeypatch, Stub(bench, ["c"], tmp_path))
    text = evidence.left_text(given)
    assert text.splitlines()[1].split() == ["t", "2", "3", "100", "0.00"]
    assert "not measured, counted as 0 (--pace): net" in text
    log = tmp_path / "shared" / "log.csv"
    log.parent.mkdir()
    log.write_text("step,loss,seconds\n10,1.0,360.0\n40,0.5,1440.0\n")
    assert evidence.left_text(given).splitlines()[1].split() == ["t", "2", "3", "60", "0.60"]


@pytest.mark.long
def test_a_pretrained_network_is_scored_on_scans_and_painted_maps(
    bench, monkeypatch, tmp_path: Path, capsys
) -> None:
    labels = np.zeros((24, 48, 48), np.uint8)
    labels[6:18, 12:36, 12:36] = 1
    nib.save(nib.Nifti1Image(labels.T, np.diag([8.0, 8.0, 12.0, 1.0])), tmp_path / "map.nii.gz")
    (tmp_path / "names.json").write_text(json.dumps({"liver": 1}))
    entry = {"name": "map", "labels": "map.nii.gz", "names": "names.json", "image": None}
    (tmp_path / "look.json").write_text(json.dumps([entry]))
    words = ["--smoke", "--look", str(tmp_path / "look.json"), "--work", str(tmp_path / "work")]
    monkeypatch.setattr("sys.argv", ["carry_over.py", *words, "--results", str(tmp_path / "r")])
    bench("carry_over").main()
    text = capsys.readouterr().out
    for row in bench("carry_over").ROWS:
        assert f"\n{row} " in text
    assert "liver, mask" in text
    monkeypatch.setattr("sys.argv", ["carry_over.py", *words[:1], "--print", "--results",
                                     str(tmp_path / "r")])  # fmt: skip
    bench("carry_over").main()
    assert text.endswith(capsys.readouterr().out)
