"""TensorBoard's files hold the log's numbers; a text is replaced whole."""

import subprocess
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mots_pretrained.training.log import Progress, tensorboard, write_whole


def progress(step):
    return Progress(step, 30, {"dice": 0.5, "total": 1.0 / step}, 1e-3, 2.0, 1.0)


def test_tensorboard_shows_the_log_and_hides_what_a_resumption_does_again(tmp_path):
    with tensorboard(tmp_path) as show:
        for step in (10, 20):
            show(progress(step))
    with tensorboard(tmp_path, step=10) as show:
        for step in (20, 30):
            show(progress(step))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
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


def test_a_text_is_replaced_whole(tmp_path):
    path = tmp_path / "a.json"
    for text in ("one\n", "two\n"):
        write_whole(path, text)
        assert path.read_text() == text
    assert [*tmp_path.iterdir()] == [path]
