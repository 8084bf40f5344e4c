"""The lists of Tables 2 to 9, what is printed of them, and that they run, die and go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from benchmark_runs import command, read, values

from mots_pretrained.data.store import PreparedSet
from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.results import Results
from mots_pretrained.tasks import MOTS_CATEGORIES, MOTS_TASKS

NUMBERS = range(2, 10)
TASKS = [task.name for task in MOTS_TASKS]


def table(bench, number: int):
    """Return a table by its number."""
    return next(t for t in bench("tables").TABLES if t.name == f"table{number:02d}")


@pytest.mark.parametrize("number", NUMBERS)
def test_parameters_are_the_papers_where_it_prints_them(bench, number: int) -> None:
    of, printed = table(bench, number), bench("printed")
    paper = bench("settings").SETTINGS["paper"].base
    assert of.final in [row.name for row in of.rows]
    for row in of.rows:
        assert {"dice", "hd"} <= {*row.paper} or row.name == bench("tables").FULL
        if "parameters" in row.paper:
            found = printed.parameters(row.change(paper), generated=of.generated)
            if of.generated:
                assert found == row.paper["parameters"]
            else:
                assert round(found / 1e6, 2) == row.paper["parameters"]


def test_ablations_differ_from_the_final_network_in_what_they_ablate(bench) -> None:
    paper = bench("settings").SETTINGS["paper"].base
    rows = {n: {row.name: row.change(paper) for row in table(bench, n).rows} for n in NUMBERS}
    assert rows[6]["192"] == rows[7]["3"] == rows[8]["Mode-A"] == rows[9]["TransDoDNet"] == paper
    assert rows[2]["3"] == rows[3]["8"] == rows[4]["Transformer"] == rows[5]["1+1"]
    assert rows[5]["3+3"] == rows[6]["384"]
    assert rows[9]["Multi-Nets"] == rows[9]["Multi-Nets (full)"]
    assert {table(bench, n).epochs for n in NUMBERS[:-1]} == {500}
    assert table(bench, 9).epochs == 1000


def test_rows_differ_in_network_and_seed_alone(bench) -> None:
    """Every arm of a table has the same steps, data, augmentation and rate."""
    trial, tables = bench("trial"), bench("tables")
    setting = bench("settings").SETTINGS["evidence"]
    for of in tables.TABLES:
        recipes = {
            row.name: replace(trial.recipe_of(of, row, setting, seed=1), network=None)
            for row in of.rows
        }
        full = recipes.pop(tables.FULL, None)
        shared = recipes[of.final]
        assert {*recipes.values()} == {shared}
        assert full in (None, replace(shared, steps=7 * shared.steps))


def test_all_rows_train_from_one_store_of_partial_labels(bench, tmp_path: Path) -> None:
    trial = bench("trial")
    setting = replace(bench("settings").SETTINGS["smoke"], phantoms=2)
    store = trial.store_of("smoke", tmp_path)
    prepared = PreparedSet.open(store)
    assert prepared.contract.spacing == setting.base.preprocessing.spacing
    assert Counter(r.task for r in prepared.records) == dict.fromkeys(TASKS, 2)
    before = (store / "prepared.json").stat().st_mtime_ns
    assert trial.store_of("smoke", tmp_path) == store
    assert (store / "prepared.json").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="needs --data"):
        trial.store_of("paper", tmp_path)


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
    modes, printed = table(bench, 8), bench("printed")
    path = tmp_path / "results" / "table08.csv"
    first = bench("long_table").LongTable(path, "table08", "here")
    for row, dice in (("Mode-A", 0.6), ("Mode-B", 0.4)):
        first.add(row, 0, scores(dice), parameters=7, steps=2, seconds=1.0)
    again = bench("long_table").LongTable(path, "table08", "here")  # as after a kill
    assert again.done("Mode-A", 0)
    assert not again.done("Mode-A", 1)
    assert not again.done("Mode-C", 0)
    assert not bench("long_table").LongTable(path, "table08", "there").done("Mode-A", 0)
    head, a, b = printed.table_text(modes, again).splitlines()
    assert "mDice, paper" in head
    assert a.split()[:5] == ["Mode-A", "39.05", "-", "65.00", "±"]
    assert "73.79" in a
    assert "18.95" in a
    # missed, clean, false ml of 0 and 3, seeds
    assert a.split()[-4:] == ["0.0", "0.50", "1.50", "1"]
    assert b.rstrip().endswith("-20.00 [-20.00, -20.00]*")
    elsewhere = printed.elsewhere_text(modes, again).splitlines()
    assert elsewhere[1].split() == ["Mode-A", "65.00", "±", "0.00", "25.00", "±", "0.00"]
    head, a, b = printed.pairs_text(modes, again).splitlines()
    assert head.split() == ["row", "Mode-A", "Mode-B"]
    assert a.split() == ["Mode-A", "+20.00", "[+20.00,", "+20.00]*"]
    assert b.split() == ["Mode-B", "-20.00", "[-20.00,", "-20.00]*"]
    [(names, found)] = printed.differences(modes.pairs, again).items()
    assert names == "Mode-A - Mode-B"
    assert found.difference == pytest.approx(0.2)
    assert found.cases == 2
    again.compared(names, found)
    written = path.read_bytes()
    later = bench("long_table").LongTable(path, "table08", "here")
    later.compared(names, found)
    assert path.read_bytes() == written  # printing a table again leaves its file as it is
    later.compared(names, replace(found, difference=0.1))
    ahead = [x["value"] for x in read(path) if x["metric"] == "difference"]
    assert ahead == ["0.1"]


def test_rows_are_compared_by_the_seeds_that_both_have(bench, tmp_path: Path) -> None:
    modes, printed = table(bench, 8), bench("printed")
    results = bench("long_table").LongTable(tmp_path / "table08.csv", "table08", "here")
    for row, seed, dice in (("Mode-A", 0, 0.6), ("Mode-A", 1, 0.9), ("Mode-B", 0, 0.4)):
        results.add(row, seed, scores(dice), parameters=7, steps=2, seconds=1.0)
    _, a, b = printed.table_text(modes, results).splitlines()
    assert b.split()[-4:] == ["1", "-20.00", "[-20.00,", "-20.00]*"]
    assert a.split()[-1] == "2"
    [found] = printed.differences(modes.pairs, results).values()
    assert found.difference == pytest.approx(0.2)


def test_a_row_that_two_processes_did_is_there_once(bench, tmp_path: Path) -> None:
    path = tmp_path / "table08.csv"
    one, other = (bench("long_table").LongTable(path, "table08", "here") for _ in range(2))
    for results, dice in ((one, 0.6), (other, 0.4)):
        results.add("Mode-A", 0, scores(dice), parameters=7, steps=2, seconds=1.0)
    assert len({x["value"] for x in read(path) if x["metric"] == "parameters"}) == 1
    assert other.results("Mode-A").mean_dice == one.results("Mode-A").mean_dice


def test_lines_of_two_processes_both_stay(bench, tmp_path: Path) -> None:
    path = tmp_path / "results" / "table08.csv"
    first, second = (bench("long_table").LongTable(path, "table08", "here") for _ in "12")
    first.add("Mode-A", 0, scores(0.6), parameters=7, steps=2, seconds=1.0)
    second.add("Mode-B", 0, scores(0.4), parameters=7, steps=2, seconds=1.0)
    assert first.done("Mode-B", 0)
    assert second.done("Mode-A", 0)


@pytest.mark.long
def test_a_whole_list_runs_at_the_smoke_setting(bench, tmp_path: Path) -> None:
    run = command("tables.py", "9", tmp_path)
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = read(tmp_path / "results" / "table09_smoke_phantom.csv")
    rows = [row.name for row in table(bench, 9).rows]
    assert list(dict.fromkeys(x["row"] for x in lines if x["table"] == "table09")) == rows
    ahead = [x["row"] for x in lines if (x["table"], x["metric"]) == ("table09 compared", "low")]
    assert ahead == [f"TransDoDNet - {row}" for row in rows if row != "TransDoDNet"]
    for row in rows:
        mine = [x for x in lines if x["row"] == row and x["table"] == "table09"]
        for metric in ("dice", "hd", "hd95_published"):
            found = [x["value"] for x in mine if x["metric"] == metric]
            assert len(found) == 11  # eleven categories, a case of each domain
            assert any(found)
    assert "mHD, paper" in done.stdout
    assert "labelled elsewhere" in done.stdout
    again = subprocess.run([*run, "--print"], capture_output=True, text=True)
    assert done.stdout.endswith(again.stdout)


@pytest.mark.long
def test_a_killed_run_goes_on_to_the_same_values(tmp_path: Path) -> None:
    more = ("--rows", "Convolution,Convolution*", "--steps", "40")
    run = command("tables.py", "4", tmp_path / "a", *more)
    process = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    results = tmp_path / "a" / "results" / "table04_smoke_phantom.csv"
    work, until = tmp_path / "a" / "work", time.monotonic() + 400
    while len(list(work.glob("dodnet-*"))) < 2 or not list(work.glob("*/checkpoint.safetensors")):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)  # in the second row's training
    process.wait()
    before = results.read_text()
    assert "Convolution," in before
    assert "Convolution*," not in before
    second = max(work.glob("dodnet-*"), key=lambda folder: folder.stat().st_mtime)
    assert not json.loads((second / "training.json").read_text())["complete"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    again = subprocess.run(run, capture_output=True, text=True, env=environment)
    assert again.returncode == 0, again.stderr
    assert "Convolution, seed 0: done before" in again.stdout
    assert results.read_text().startswith(before)
    straight = subprocess.run(command("tables.py", "4", tmp_path / "b", *more), capture_output=True)
    assert straight.returncode == 0
    assert values(results) == values(tmp_path / "b" / "results" / "table04_smoke_phantom.csv")
