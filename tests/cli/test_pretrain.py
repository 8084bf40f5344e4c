"""mots pretrain: what it is told reaches the training, and errors are one line."""

import dataclasses
import json

import pytest
from prepared_folder import write_prepared
from small_networks import small

from mots_pretrained.cli import main
from mots_pretrained.training import presets, pretrain_mots
from mots_pretrained.training.pretraining import Pretraining
from mots_pretrained.training.recipes import RECIPES
from mots_pretrained.training.sources import Phantoms


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "huge"], "unknown size 'huge'; allowed are small, paper"),
        (["--method", "unet"], "unknown method 'unet'"),
        (["--recipe", "mine"], "unknown recipe 'mine'; allowed are small, paper, published"),
        (["--augment", "all"], "unknown augmentation 'all'"),
        (["--tasks", "liver,lungs"], "unknown task 'lungs'"),
        (["--steps", "3", "--epochs", "2"], "--steps or --epochs, not both"),
        (["--fold", "train"], "--fold is an option of a prepared folder, -i"),
        (["--sampling", "balanced"], "--sampling is an option of a prepared folder, -i"),
        (["-i", "/nowhere"], "is no prepared folder"),
        (["-i", "/nowhere", "--patches", "2"], "--patches is an option without -i, of phantoms"),
        (["--from", "nothing.such"], "nothing.such"),
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

    def pretend(output, settings, run, **options):
        called.update(settings=settings, run=run)
        (tmp_path / "training.json").write_text('{"steps_done": 3}')

    monkeypatch.setattr(pretrain_mots, "pretrain", pretend)

    def pretrain(words):
        assert main(["pretrain", "-o", str(tmp_path), *words.split(), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"steps_done": 3}
        return called["settings"], called["run"]

    settings, run = pretrain(
        "--epochs 2 --batch 4 --seed 3 --labels complete --ema 0 --lr 0.01 --resume --half "
        "--max-minutes 5 --workers 2 --device cpu --accumulate 3 --tasks liver,colon "
        "--checkpoint-activations --tensorboard --augment paper --clip 0"
    )
    recipe = settings.chosen_recipe
    assert (recipe.epochs, recipe.steps, recipe.batch) == (2, None, 4)
    assert (recipe.ema, recipe.rate, recipe.clip) == (None, 0.01, None)
    assert (recipe.augmentation, recipe.foreground) == ("paper", 0.5)
    assert settings.data == Phantoms(labels="complete")
    assert (settings.seed, settings.accumulate, settings.tasks) == (3, 3, ("liver", "colon"))
    assert settings.steps(204) == 2 * 17
    assert (run.resume, run.half, run.workers, run.max_minutes) == (True, True, 2, 5)
    assert (run.recompute, run.tensorboard, run.device) == (True, True, "cpu")

    assert pretrain("--device cpu")[0] == Pretraining(recipe=RECIPES["small"])
    paper, _ = pretrain("--size paper --device cpu")
    assert paper.chosen_recipe == RECIPES["paper"]
    published, _ = pretrain("--recipe published --steps 50 --precision float32 --device cpu")
    changed = dataclasses.replace(RECIPES["published"], steps=50, epochs=None, precision="float32")
    assert published.chosen_recipe == changed


def test_a_prepared_folder_is_trained_on(tmp_path, monkeypatch, capsys):
    tiny = small()
    write_prepared(tmp_path / "data", tiny.preprocessing, {"liver": 3, "colon": 4})
    monkeypatch.setitem(presets.SIZES, "tiny", presets.Size(tiny, "small"))
    words = f"pretrain -i {tmp_path / 'data'} -o {tmp_path / 'out'} --size tiny --epochs 2"
    options = "--sampling balanced --fold train --batch 1 --workers 0 --device cpu --ema 0"
    assert main([*words.split(), *options.split()]) == 0
    said = capsys.readouterr().out
    assert f"on 3 cases of {tmp_path / 'data'}, 6 steps on cpu" in said
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (record["steps_done"], record["scans"], record["tasks"]) == (6, 3, ["liver", "colon"])
    more = f"--from {tmp_path / 'out'} --steps 1 --workers 0 --device cpu"
    words = f"pretrain -i {tmp_path / 'data'} -o {tmp_path / 'more'} --size tiny"
    assert main([*words.split(), *more.split()]) == 0
    assert "tensors kept, 0 widened, 0 made new" in capsys.readouterr().out
    assert main(["pretrain", "-i", str(tmp_path / "data"), "-o", str(tmp_path / "small")]) == 2
    assert "the network needs (4.0, 3.0, 3.0)" in capsys.readouterr().err


def test_singlept_is_transdodnet_on_hepatic_vessels_alone(tmp_path, monkeypatch, capsys):
    called = []
    (tmp_path / "training.json").write_text("{}")
    monkeypatch.setattr(
        pretrain_mots, "pretrain", lambda _, settings, run, **o: called.append(settings)
    )
    for words in ("--method singlept", "--method transdodnet --tasks hepatic_vessel"):
        assert main(["pretrain", "-o", str(tmp_path), *words.split(), "--device", "cpu"]) == 0
    assert called[0] == called[1]
    assert called[0].tasks == ("hepatic_vessel",)
    words = ["pretrain", "-o", str(tmp_path), "--method", "singlept", "--tasks", "liver"]
    assert main(words) == 2
    assert "leave --tasks out" in capsys.readouterr().err
