"""The log's rows as CSV and in TensorBoard's files."""

import subprocess
import sys

import pytest

from mots_pretrained.training.log import LogRow, append_row, tensorboard, write_rows


def row(step):
    return LogRow(step, 30, {"dice": 0.5, "total": 1.0 / step}, 1e-3, 2.0, 1.0)


def test_tensorboard_shows_the_log_and_hides_what_a_resumption_does_again(tmp_path):
    from tensorboard.backend.event_processing import event_accumulator as accumulator

    with tensorboard(tmp_path) as show:
        for step in (10, 20):
            show(row(step))
    with tensorboard(tmp_path, step=10) as show:
        for step in (20, 30):
            show(row(step))
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {*events.Tags()["scalars"]} == {
        "loss/dice",
        "loss/total",
        "optimiser/rate",
        "optimiser/norm",
    }
    shown = [(event.step, event.value) for event in events.Scalars("loss/total")]
    assert shown == [(step, pytest.approx(1 / step)) for step in (10, 20, 30)]


def test_without_tensorboard_the_message_names_the_extra():
    code = """
import sys
sys.modules["tensorboard"] = None
from pathlib import Path
from mots_pretrained.training.log import tensorboard
try:
    tensorboard(Path(".")).__enter__()
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'mots_pretrained[tensorboard]'" in done.stdout


def test_rows_are_added_and_the_first_begins_anew(tmp_path):
    path, rows = tmp_path / "log.csv", [row(10), row(20)]
    path.write_text("of an earlier training")
    append_row(path, rows[:1])
    append_row(path, rows)
    head = "step,dice,total,rate,norm,seconds"
    assert path.read_text().splitlines() == [
        head, "10,0.5,0.1,0.001,2,1.0", "20,0.5,0.05,0.001,2,1.0",
    ]  # fmt: skip
    write_rows(path, rows[:1])
    assert path.read_text().splitlines() == [head, "10,0.5,0.1,0.001,2,1.0"]
