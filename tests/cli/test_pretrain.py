"""mots pretrain: what it is told reaches the training, and errors are one line."""

import json

import pytest

from mots_pretrained.cli import main
from mots_pretrained.training import pretrain_mots


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "huge"], "unknown size 'huge'; allowed are small, paper"),
        (["--method", "unet"], "unknown method 'unet'"),
        (["--data", "mots"], "unknown data 'mots'"),
        (["--labels", "all"], "unknown labels 'all'"),
        (["--randomise", "2"], "randomise must be 0 to 1"),
        (["--steps", "0"], "at least 1"),
        (["--device", "tpu"], "unknown device 'tpu'"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(tmp_path, capsys, words, message):
    assert main(["pretrain", "-o", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_options_reach_the_training(tmp_path, monkeypatch, capsys):
    called = {}

    def pretend(output, settings, **options):
        called.update(options, settings=settings)
        (tmp_path / "training.json").write_text('{"steps_done": 3}')

    monkeypatch.setattr(pretrain_mots, "pretrain", pretend)
    words = (
        "--epochs 2 --batch 4 --seed 3 --labels complete --ema 0 --lr 0.01 --resume --half "
        "--max-minutes 5 --workers 2 --device cpu --json"
    )
    assert main(["pretrain", "-o", str(tmp_path), *words.split()]) == 0
    assert json.loads(capsys.readouterr().out) == {"steps_done": 3}
    settings = called["settings"]
    assert (settings.steps, settings.by_epoch, settings.batch) == (460, True, 4)
    assert (settings.seed, settings.labels) == (3, "complete")
    assert (settings.ema, settings.rate) == (None, 0.01)
    assert (called["resume"], called["half"], called["workers"]) == (True, True, 2)
    assert called["max_minutes"] == 5
