"""mots pretrain: what it is told reaches the training, and errors are one line."""

import json
from dataclasses import replace

import pytest
from prepared_folder import write_prepared
from small_networks import small

from mots_pretrained.cli import main
from mots_pretrained.training import byol, pretrain
from mots_pretrained.training.recipe import Recipe, read_recipe, to_yaml


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe", "mine"], "unknown recipe 'mine'; allowed are byol3d, finetune, paper"),
        (["--recipe", "mine.yaml"], "no such recipe: mine.yaml"),
        (["--set", "size=huge"], "unknown size 'huge'; allowed are small, paper"),
        (["--set", "method=unet"], "unknown method 'unet'"),
        (["--set", "augmentation=all"], "augmentation must be one of default, paper"),
        (["--set", "tasks=liver,lungs"], "unknown task 'lungs'"),
        (["--set", "steps=3", "--set", "epochs=2"], "either steps or epochs"),
        (["--set", "lr=3"], "--set: unknown name 'lr'; allowed are method, size"),
        (["--set", "steps"], "--set takes NAME=VALUE, not 'steps'"),
        (["--set", "ablation=true"], "ablation has no part in a training on phantoms"),
        (["--set", "freeze=encoder"], "freeze has no part in pretraining"),
        (["-i", "/nowhere"], "is no prepared folder"),
        (["--from", "nothing.such"], "nothing.such"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--device", "mps"], "unknown device 'mps'"),
        (
            ["--recipe", "published", "--device", "cpu"],
            "float16 is for CUDA; on a processor",
        ),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(tmp_path, capsys, words, message):
    assert main(["pretrain", "-o", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_is_asked_for(capsys):
    assert main(["pretrain"]) == 2
    assert "give a folder for the weights: -o OUTPUT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "module", "name"),
    [("paper", pretrain, "pretrain"), ("byol3d", byol, "pretrain_byol")],
)
def test_options_reach_the_training(tmp_path, monkeypatch, capsys, recipe, module, name):
    called = {}

    def pretend(output, recipe, *, data, run):
        called.update(recipe=recipe, data=data, run=run)
        (tmp_path / "training.json").write_text('{"steps_done": 3}')

    monkeypatch.setattr(module, name, pretend)
    words = f"pretrain -o {tmp_path} -i DATA --recipe {recipe} --resume --max-minutes 5 --workers 2"
    sets = ["rate=0.01", "steps=70", "recompute=true", "tensorboard=true", "checkpoint_minutes=9"]
    words = [*words.split(), "--device", "cpu", "--json"]
    assert main([*words, *(word for one in sets for word in ("--set", one))]) == 0
    assert json.loads(capsys.readouterr().out) == {"steps_done": 3}
    assert called["data"] == "DATA"
    assert called["recipe"] == replace(read_recipe(recipe), rate=0.01, steps=70, epochs=None)
    run = called["run"]
    assert (run.resume, run.workers, run.max_minutes, run.device) == (True, 2, 5, "cpu")
    assert (run.recompute, run.tensorboard, run.checkpoint_minutes) == (True, True, 9)


def test_the_recipe_in_force_is_shown_and_gives_itself_back(tmp_path, capsys):
    words = ["pretrain", "--recipe", "paper", "--set", "rate=3e-4", "--from", "dodnet.phantom"]
    assert main([*words, "--show-recipe"]) == 0
    shown = capsys.readouterr().out
    assert "rate: 0.0003" in shown
    assert "channel_init" not in shown  # no part in pretraining, and its default may change
    (tmp_path / "shown.yaml").write_text(shown)
    expected = replace(read_recipe("paper"), rate=3e-4, start="dodnet.phantom")
    assert read_recipe(tmp_path / "shown.yaml") == expected


def test_a_prepared_folder_is_trained_on(tmp_path, capsys):
    tiny = small()
    write_prepared(tmp_path / "data", tiny.preprocessing, {"liver": 3, "colon": 4})
    recipe = Recipe(network=tiny, epochs=2, batch=1, balance="balanced", ablation=True)
    (tmp_path / "tiny.yaml").write_text(to_yaml(recipe))
    here = ["--workers", "0", "--device", "cpu", "--recipe", str(tmp_path / "tiny.yaml")]
    words = ["pretrain", "-i", str(tmp_path / "data"), *here, "-o"]
    assert main([*words, str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"on 3 cases of {tmp_path / 'data'}, 6 steps on cpu" in said
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (record["steps_done"], record["scans"], record["tasks"]) == (6, 3, ["liver", "colon"])
    more = ["--from", str(tmp_path / "out"), "--set", "steps=1", "--set", "network=null"]
    assert main([*words, str(tmp_path / "more"), *more]) == 0
    assert "tensors kept, 0 widened, 0 made new" in capsys.readouterr().out
    assert main(["pretrain", "-i", str(tmp_path / "data"), "-o", str(tmp_path / "small")]) == 2
    assert "the model expects (4.0, 3.0, 3.0)" in capsys.readouterr().err


def test_a_run_of_one_step_says_nothing_strange(tmp_path, capsys):
    tiny = small()
    write_prepared(tmp_path / "data", tiny.preprocessing, {"liver": 3})
    (tmp_path / "tiny.yaml").write_text(to_yaml(Recipe(network=tiny, steps=1, batch=1)))
    words = ["pretrain", "-i", str(tmp_path / "data"), "-o", str(tmp_path / "out"), "-q"]
    words += ["--workers", "0", "--device", "cpu", "--recipe", str(tmp_path / "tiny.yaml")]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert len(shown.out.splitlines()) == 1
