"""The lists of Tables 10 to 12, what is printed of them, and that they run, die and go on."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from benchmark_runs import command, read, values

from mots_pretrained import Segmenter, TransDoDNet
from mots_pretrained.data.layouts.bcv import BCV_SCANS, BCV_VALIDATION
from mots_pretrained.evaluation.results import Results


def transfer(bench, name: str):
    """Return a table by its name."""
    return next(table for table in bench("transfer").TRANSFERS if table.name == name)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_the_written_down_half_of_bcv_is_held_out(bench, tmp_path: Path) -> None:
    data = bench("transfer_data")
    for name in BCV_SCANS:
        touch(tmp_path / "img" / f"{name}.nii.gz")
        touch(tmp_path / "label" / f"{name.replace('img', 'label')}.nii.gz")
    assert data.kind_of(str(tmp_path)) == "bcv"
    assert data.held_out("bcv", tmp_path) == BCV_VALIDATION
    for name in BCV_VALIDATION:
        (tmp_path / "img" / f"{name}.nii.gz").unlink()
        (tmp_path / "label" / f"{name.replace('img', 'label')}.nii.gz").unlink()
    with pytest.raises(ValueError, match="scans of both halves are needed"):
        data.held_out("bcv", tmp_path)
    with pytest.raises(FileNotFoundError, match="give phantom, or a folder of data"):
        data.kind_of(str(tmp_path / "nowhere"))


def test_a_test_set_is_found_with_its_labels_or_without(bench, tmp_path: Path) -> None:
    find = bench("transfer_data").scans_to_score
    scan = touch(tmp_path / "bcv" / "img" / "img0061.nii.gz")
    other = touch(tmp_path / "bcv" / "img" / "img0062.nii.gz")
    label = touch(tmp_path / "bcv" / "label" / "label0062.nii.gz")
    found = find("bcv", tmp_path / "bcv")
    assert [(x.name, x.images, x.label) for x in found] == [
        ("img0061", (scan,), None),
        ("img0062", (other,), label),
    ]
    for kind in ("t1", "t1ce", "t2", "flair"):
        touch(tmp_path / "brats" / "A_t1_1" / f"A_t1_1_{kind}.nii.gz")
        touch(tmp_path / "brats" / "B" / f"B_{kind}.nii.gz")
    label = touch(tmp_path / "brats" / "B" / "B_seg.nii.gz")
    found = find("brats", tmp_path / "brats")
    assert [(x.name, len(x.images), x.label) for x in found] == [
        ("A_t1_1", 4, None),
        ("B", 4, label),
    ]


def scores(dice: float, distance: float) -> Results:
    results = Results(("spleen", "liver"), ("dice", "hd", "hd95", "msd"))
    for index in range(3):
        far = {"hd": distance + index, "hd95": 1.0, "msd": 0.5}
        spleen = {"dice": dice + 0.1 * index, **far}
        unfound = {"dice": 0.0, "hd": float("inf"), "hd95": float("inf"), "msd": float("inf")}
        results.add(f"img000{index}", {"spleen": spleen, "liver": unfound})
    return results


def test_a_transfer_is_printed_with_intervals_curves_and_the_papers_lines(
    bench, tmp_path: Path
) -> None:
    printed, table = bench("transfer_printed"), transfer(bench, "table11")
    shape = {"categories": ("spleen", "liver"), "metrics": ("dice", "hd", "hd95", "msd")}
    path = tmp_path / "table11.csv"
    first = bench("long_table").LongTable(path, "table11", "here", **shape)
    more = {"parameters": 7, "steps": 20, "seconds": 1.0}
    first.add("MOTS", 0, scores(0.4, 4.0), **more, curve=[(10, 0.2, 6.0), (20, 0.4, 12.0)])
    first.add("MOTS", 1, scores(0.6, 4.0), **more, curve=[(10, 0.4, 8.0), (20, 0.5, 14.0)])
    first.add("TFS", 0, scores(0.4, 9.0), **more, curve=[(10, 0.1, 3.0), (20, 0.2, 6.0)])
    again = bench("long_table").LongTable(path, "table11", "here", **shape)  # as after a kill
    assert again.done("MOTS", 1)
    assert not again.done("TFS", 1)
    assert again.curve("MOTS") == [(10, pytest.approx(0.3), 7.0), (20, pytest.approx(0.45), 13.0)]
    assert again.curve("MOTS", 1) == [(10, 0.4, 8.0), (20, 0.5, 14.0)]
    assert again.curve("MOTS*") == []
    sooner = [line.split() for line in printed.sooner_text(table, again).splitlines()[2:]]
    assert sooner == [
        ["TFS", "0", "0.200", "20", "0.10", "1.000"],
        ["MOTS", "0", "0.200", "10", "0.10", "0.500"],
    ]
    head, *lines = printed.table_text(table, again).splitlines()
    assert head.split()[:7] == ["row", "mDice", "paper's", "mHD", "mm", "paper's", "mMSD"]
    by_name = {line.split()[0].rstrip(","): line for line in lines}
    assert "the paper's line" in by_name["nnUnet"]
    assert "88.10" in by_name["nnUnet"]
    # Means over two categories, of which the liver was found in no case: 0 and no distance.
    assert " ".join(by_name["MOTS"].split()[1:9]) == "30.00 ± 7.07 88.60 5.00 ± 0.00 (1"
    differences = " ".join(by_name["TFS"].split()[-6:])
    assert differences == "+0.00 [+0.00, +0.00] +5.00 [+5.00, +5.00]*"  # of the seed 0
    assert "MOTS*" not in by_name
    assert printed.draw_fig10(table, again, tmp_path / "fig10.png")
    assert (tmp_path / "fig10.png").stat().st_size > 1000


def test_arms_differ_in_their_start_alone(bench, tmp_path: Path) -> None:
    """Every arm has the same fine-tuning, and a pretraining of the same steps."""
    runner, few = bench("transfer_runner"), transfer(bench, "table10_bcv_4")
    work = ["--work", str(tmp_path), "--results", str(tmp_path), "--pretrain-steps", "70"]
    jobs = arguments(bench, runner, *work)
    found = {(job.row, job.seed): job.trainings for job in runner.TransferBench(few, jobs).jobs()}
    assert len(found) == 9 * 3
    for (row, seed), trainings in found.items():
        *before, fit = [training.recipe for training in trainings]
        assert [recipe.steps for recipe in before] == ([] if row == "TFS" else [70])
        assert {recipe.seed for recipe in (*before, fit)} == {seed}
        assert fit.fit_head is ("random head" not in row)
        assert (fit.start is None) is (row == "TFS")
    starts = {row: found[row, 2][-1].recipe.start for row, seed in found}
    assert starts["MOTS"] == starts["MOTS (random head)"] != starts["MOTS*"]


def test_the_weights_that_table_9_trains_are_not_trained_again(bench, tmp_path: Path) -> None:
    runner, transfers = bench("runner"), bench("transfer_runner")
    given = arguments(bench, transfers, "--work", str(tmp_path), "--results", str(tmp_path))
    table9 = runner.TableBench(bench("tables").TABLES[-1], given).jobs()
    folders = {(job.row, job.seed): job.trainings[0].folder for job in table9}
    few = transfers.TransferBench(transfer(bench, "table10_bcv_4"), given).jobs()
    for job in few:
        known = {"MOTS": "TransDoDNet", "MOTS*": "DoDNet"}.get(job.row)
        if known:
            assert job.trainings[0].folder == folders[known, job.seed]


def arguments(bench, module, *words: str):
    """Return the command line of a table at the setting evidence."""
    parser = bench("runner").parser_of("")
    module.add_options(parser)
    return parser.parse_args(["--setting", "evidence", *words])


RANDOM = "random first layer"


def test_a_random_first_layer_leaves_all_else(bench, tmp_path: Path) -> None:
    start = tmp_path / "start"
    TransDoDNet(bench("settings").SETTINGS["smoke"].base).save_pretrained(start)
    kinds = {"first": {"channel_init": "first"}, "random": bench("transfer").VARIANTS[RANDOM]}
    states = {
        kind: Segmenter.from_pretrained(start, 3, in_channels=4, **options).backbone.state_dict()
        for kind, options in kinds.items()
    }
    other = {k for k, v in states["first"].items() if not torch.equal(v, states["random"][k])}
    assert other == {"encoder.stem.0.weight"}
    stem = states["random"]["encoder.stem.0.weight"]
    assert stem.shape[1] == 4
    assert not torch.equal(stem[:, 0], stem[:, 1])


@pytest.mark.long
@pytest.mark.parametrize(("name", "cases"), [("table10_bcv_4", 15), ("table12", 2)])
def test_a_whole_list_runs_at_the_smoke_setting(
    bench, name: str, cases: int, tmp_path: Path
) -> None:
    words = command("transfer.py", name, tmp_path, "--submission", str(tmp_path / "out"))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "results" / f"{name}_smoke_phantom.csv"
    every, brats = read(path), name == "table12"
    rows = [*transfer(bench, name).rows]
    lines = [line for line in every if line["table"] == name]
    assert {*rows} == {line["row"] for line in lines}
    compared = {line["row"] for line in every if line["table"] == f"{name} compared"}
    assert compared == {
        *(f"MOTS - {row}" for row in rows if row != "MOTS"),
        *(f"{row} - TFS" for row in rows if row not in ("MOTS", "TFS")),
    }
    for row in rows:
        mine = [line for line in lines if line["row"] == row]
        scored = {line["case"] for line in mine} - {""}
        assert len(scored) == cases
        for metric in ("dice", "hd", "hd95", "msd"):
            found = [line["value"] for line in mine if line["metric"] == metric]
            assert len(found) == len(scored) * (3 if brats else 13)
            assert any(found)
        curve = [line["steps"] for line in mine if line["metric"] == "validation_dice"]
        fitted = ["0"] if "random head" not in row and row != "TFS" else []
        assert curve == ([] if brats else [*fitted, "10", "20"])
    for figure in ("fig10", "fig11"):
        assert path.with_name(f"{path.stem}_{figure}.png").exists() is not brats
    maps = {file.name for file in (tmp_path / "out").glob("*/mots/seed_0/*")}
    assert any(x.startswith("Brats18_" if brats else "label00") for x in maps)
    assert "95 % interval" in done.stdout
    assert "paper's" in done.stdout


@pytest.mark.long
def test_a_stopped_and_killed_run_goes_on_to_the_same_values(tmp_path: Path) -> None:
    def run(folder: str, *more: str, rows: str = "TFS,MOTS,MOTS (zero_new)") -> list[str]:
        return command("transfer.py", "table12", tmp_path / folder, "--rows", rows, *more)

    stopped = run("a", "--max-minutes", "0.0001", rows="TFS")
    done = subprocess.run(stopped, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "time is up; run again to go on" in done.stdout
    work, results = (
        tmp_path / "a" / "work",
        tmp_path / "a" / "results" / "table12_smoke_phantom.csv",
    )
    assert list(work.glob("transfer-tfs-*/checkpoint.safetensors"))
    assert not results.exists()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(run("a"), **quiet)
    until = time.monotonic() + 400
    while not list(work.glob("transfer-mots-*/log.csv")):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)  # in the second row's fine-tuning
    process.wait()
    before = results.read_text()
    again = subprocess.run(run("a"), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "TFS, seed 0: done before" in again.stdout
    assert results.read_text().startswith(before)
    straight = subprocess.run(run("b"), capture_output=True)
    assert straight.returncode == 0
    whole = tmp_path / "b" / "results" / "table12_smoke_phantom.csv"
    assert values(results) == values(whole)
