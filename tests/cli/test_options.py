"""What the verbs that train have in common: the recipe in force, the run, progress."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mots_pretrained.cli import console, options
from mots_pretrained.cli.options import is_main, on_this_machine, recipe_in_force
from mots_pretrained.errors import UserError
from mots_pretrained.training.log import LogRow
from mots_pretrained.training.recipe import Run, read_recipe


@pytest.fixture(autouse=True)
def _level():
    console.set_level()
    yield
    console.set_level()


def test_settings_change_the_recipe_and_the_run_and_options_come_last():
    recipe, run = recipe_in_force("small", ["rate=0.5", "seed=3", "recompute=true"], seed=4)
    assert recipe == replace(read_recipe("small"), rate=0.5, seed=4)
    assert run == Run(recompute=True)
    with pytest.raises(UserError, match="unknown name 'lr'"):
        recipe_in_force("small", ["lr=1"])


def test_a_run_is_as_options_ask_for_it(capsys):
    asked_for = {"device": "cpu", "workers": 0, "resume": True, "max_minutes": 0.0}
    with on_this_machine(Run(tensorboard=True), **asked_for) as run:
        assert run == Run(tensorboard=True, device="cpu", resume=True, max_minutes=None)
        run.tell("hello")
    assert capsys.readouterr().out == "hello\n"
    with on_this_machine(Run(), **{**asked_for, "workers": 3, "max_minutes": 1.5}) as run:
        assert (run.workers, run.max_minutes) == (3, 1.5)


def test_deterministic_kernels_are_asked_for(monkeypatch):
    asked = []
    machine = "mots_pretrained.training.machine.compute_deterministically"
    monkeypatch.setattr(machine, lambda device, *, training: asked.append((device, training)))
    asked_for = {"device": "cpu", "workers": 0, "resume": False, "max_minutes": 0.0}
    with on_this_machine(Run(), **asked_for):
        pass
    with on_this_machine(Run(), **asked_for, deterministic=True):
        pass
    assert asked == [("cpu", True)]


def test_of_several_processes_the_main_one_alone_shows(monkeypatch, capsys):
    assert is_main()
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    assert not is_main()
    asked_for = {"device": "cpu", "workers": 0, "resume": False, "max_minutes": 0.0}
    with on_this_machine(Run(), **asked_for) as run:
        run.tell("hello")
        run.on_log(LogRow(1, 1, {"total": 1.0}, 0.1, 1.0, 1.0))
    assert capsys.readouterr().out == ""


def test_rows_are_shown_now_and_then_and_the_last_of_all(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(options.time, "monotonic", lambda: now[0])
    with options.progress() as show:
        for step in range(10, 60, 10):
            show(LogRow(step, 50, {"total": 1 / step, "dice": 0.5}, 0.1, 1.0, 6.0 * step))
            now[0] += 9
    assert capsys.readouterr().out.splitlines() == [
        "step 10 of 50, total 0.100, dice 0.500, 1.0 min",
        "step 40 of 50, total 0.025, dice 0.500, 4.0 min",
        "step 50 of 50, total 0.020, dice 0.500, 5.0 min",
    ]
