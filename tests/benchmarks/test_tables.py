"""The lists of Tables 2 to 9, what is printed of them, and that they run, die and go on."""

from __future__ import annotations

import csv
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mots_pretrained.evaluation.results import Results
from mots_pretrained.tasks import MOTS_CATEGORIES

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
NAMES = [f"table{number:02d}" for number in range(2, 10)]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    """Import a benchmark's module by its name, as its scripts do."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_the_papers_where_it_prints_them(bench, name: str) -> None:
    table, printed = bench(name).TABLE, bench("printed")
    paper = bench("settings").SETTINGS["paper"].base
    assert table.final in [row.name for row in table.rows]
    for row in table.rows:
        assert {"dice", "hd"} <= {*row.paper}
        if "parameters" in row.paper:
            found = printed.parameters(row.change(paper), generated=table.generated)
            if table.generated:
                assert found == row.paper["parameters"]
            else:
                assert round(found / 1e6, 2) == row.paper["parameters"]


def test_ablations_differ_from_the_final_network_in_what_they_ablate(bench) -> None:
    settings = bench("settings")
    paper = settings.SETTINGS["paper"].base
    rows = {name: {row.name: row.change(paper) for row in bench(name).TABLE.rows} for name in NAMES}
    assert rows["table06"]["192"] == rows["table07"]["3"] == rows["table08"]["Mode-A"] == paper
    assert rows["table09"]["TransDoDNet"] == paper
    assert rows["table02"]["3"] == rows["table03"]["8"] == rows["table04"]["Transformer"]
    assert rows["table02"]["3"] == rows["table05"]["1+1"]
    assert rows["table05"]["3+3"] == rows["table06"]["384"]
    assert {bench(name).TABLE.epochs for name in NAMES[:-1]} == {500}
    assert bench("table09").TABLE.epochs == 1000


def scores(dice: float) -> Results:
    """Two liver scans, on which a spleen could be scored too."""
    results = Results(MOTS_CATEGORIES, ("dice", "hd", "hd95_published"))
    for index in range(2):
        of = {"dice": dice + 0.1 * index, "hd": 4.0, "hd95_published": 3.0}
        spleen = {"dice": 0.25, "hd": float("inf"), "hd95_published": float("inf")}
        none = {"dice": None, "hd": None, "hd95_published": None, "false_ml": 3.0 * index}
        scores = {"liver": of, "spleen": spleen, "colon_tumour": none}
        results.add(f"liver {index}", scores, group="liver")
    return results


def test_a_table_is_printed_with_intervals_and_the_papers_columns(bench, tmp_path: Path) -> None:
    table, printed = bench("table08").TABLE, bench("printed")
    path = tmp_path / "results" / "table08.csv"
    first = bench("long_table").LongTable(path, "table08", "here")
    for row, dice in (("Mode-A", 0.6), ("Mode-B", 0.4)):
        first.add(row, 0, scores(dice), parameters=7, steps=2, seconds=1.0)
    again = bench("long_table").LongTable(path, "table08", "here")  # as after a kill
    assert again.done("Mode-A", 0)
    assert not again.done("Mode-A", 1)
    assert not again.done("Mode-C", 0)
    assert not bench("long_table").LongTable(path, "table08", "there").done("Mode-A", 0)
    head, a, b = printed.table_text(table, again).splitlines()
    assert "mDice, paper" in head
    assert a.split()[:5] == ["Mode-A", "39.05", "-", "65.00", "±"]
    assert "73.79" in a
    assert "18.95" in a
    assert a.split()[-3:] == ["0", "0.50", "1.50"]  # missed, clean, false ml of 0 and 3
    assert b.rstrip().endswith("-20.00 [-20.00, -20.00]*")
    elsewhere = printed.elsewhere_text(table, again).splitlines()
    assert elsewhere[1].split() == ["Mode-A", "65.00", "±", "0.00", "25.00", "±", "0.00"]


def run(name: str, folder: Path, *more: str) -> list[str]:
    """Return the command that runs a table's script."""
    where = ["--results", str(folder / "results"), "--work", str(folder / "work")]
    return [sys.executable, str(BENCHMARKS / f"{name}.py"), "--smoke", *where, *more]


@pytest.fixture(scope="module")
def shared_work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmarks")


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_a_whole_list_runs_at_the_smoke_setting(bench, name: str, shared_work: Path) -> None:
    done = subprocess.run(run(name, shared_work), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with (shared_work / "results" / f"{name}_smoke_phantom.csv").open() as file:
        lines = list(csv.DictReader(file))
    rows = [row.name for row in bench(name).TABLE.rows]
    assert list(dict.fromkeys(line["row"] for line in lines)) == rows
    for row in rows:
        mine = [x for x in lines if x["row"] == row and x["table"] == name]
        for metric in ("dice", "hd", "hd95_published"):
            values = [x["value"] for x in mine if x["metric"] == metric]
            assert len(values) == 22  # eleven categories, two cases of each domain
            assert any(values)
    assert "mHD, paper" in done.stdout
    assert "labelled elsewhere" in done.stdout


@pytest.mark.long
def test_a_killed_run_goes_on_to_the_same_values(tmp_path: Path) -> None:
    more = ("--rows", "Convolution,Convolution*", "--steps", "40")
    process = subprocess.Popen(
        run("table04", tmp_path / "a", *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    results = tmp_path / "a" / "results" / "table04_smoke_phantom.csv"
    work, until = tmp_path / "a" / "work", time.monotonic() + 400
    while len(list(work.glob("*"))) < 2 or not list(work.glob("*/checkpoint.safetensors")):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)  # in the second row's training
    process.wait()
    before = results.read_text()
    assert "Convolution," in before
    assert "Convolution*," not in before
    second = max(work.iterdir(), key=lambda folder: folder.stat().st_mtime)
    assert not json.loads((second / "training.json").read_text())["complete"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    again = subprocess.run(
        run("table04", tmp_path / "a", *more), capture_output=True, text=True, env=environment
    )
    assert again.returncode == 0, again.stderr
    assert "Convolution, seed 0: done before" in again.stdout
    assert results.read_text().startswith(before)
    straight = subprocess.run(run("table04", tmp_path / "b", *more), capture_output=True)
    assert straight.returncode == 0
    whole = (tmp_path / "b" / "results" / "table04_smoke_phantom.csv").read_text()
    assert values(results.read_text()) == values(whole)


def values(text: str) -> list[tuple[str, ...]]:
    keys = ("table", "row", "case", "category", "metric", "value")
    return [tuple(line[key] for key in keys) for line in csv.DictReader(text.splitlines())]
