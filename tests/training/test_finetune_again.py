"""Fine-tuning: what was begun goes on with the same bits, what has changed is refused."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from killed_trainings import whole_and_killed
from plain_folders import SHORT, pair, scan

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.prepare_case import Job
from mots_pretrained.errors import UserError
from mots_pretrained.files import locked
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.methods import METHODS
from mots_pretrained.report.example import Example
from mots_pretrained.training import finetune, validation
from mots_pretrained.training import finetune_folder as module
from mots_pretrained.training.finetune_folder import finetune_folder
from mots_pretrained.training.recipe import Run, to_yaml

# The phantoms here are so coarse that the adrenal glands fall between voxels.
pytestmark = pytest.mark.filterwarnings("ignore:no label map of .* holds")


@pytest.mark.parametrize("minutes", [1e-9, None])
def test_a_training_is_continued_with_its_own_settings_alone(bcv, scratch, tiny, tmp_path, minutes):
    """Unfinished and finished: start, spacing, channels, classes, values, and all else."""
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    recipe = replace(scratch, steps=11, classes=("organ", "rest"),
                     class_values=((1,), tuple(range(2, 14))))  # fmt: skip
    out = tmp_path / "out"
    history = finetune_folder(bcv, out, recipe, run=Run(max_minutes=minutes))
    assert history.complete is (minutes is None)
    assert (out / "checkpoint.safetensors").exists() is (minutes is not None)
    assert (out / ".cases").exists() is (minutes is not None)
    record = (out / "training.json").read_text()
    for changes, what in (
        ({"start": str(tmp_path / "start")}, "start null, asked for is"),
        ({"spacing": (6.0, 4.0, 4.0)}, r"spacing .*12.0.*, asked for is \[6.0, 4.0, 4.0\]"),
        ({"channel_init": "mean"}, 'channel_init "random", asked for is "mean"'),
        ({"class_values": (tuple(range(2, 14)), (1,))}, "class_values"),
        ({"rate": 0.01}, "rate null, asked for is 0.01"),
        ({"held_out": 2}, "held_out null, asked for is 2"),
    ):
        with pytest.raises(UserError, match=f"holds a training with {what}"):
            finetune_folder(bcv, out, replace(recipe, **changes), run=Run(resume=True))
    assert (out / "training.json").read_text() == record
    assert finetune_folder(bcv, out, recipe, run=Run(resume=True)).complete


def test_the_example_of_a_resumed_training_is_what_its_best_weights_find(
    bcv, tiny, tmp_path, monkeypatch
):
    """It stayed that of the stop, whose validation is in no checkpoint."""
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    dice = iter([0.5, 0.9, 0.4, 0.3])  # of the fitted head, the stop, and steps 20 and 30
    weights, truly = [], validation.score_case

    def score(network, case, **options):
        weights.append(network.head.last.weight.detach().clone())
        truly(network, case, **options)
        return {"spleen": {"dice": next(dice, None)}}

    monkeypatch.setattr(validation, "score_case", score)
    recipe = replace(SHORT, start=str(tmp_path / "start"), steps=30, validate_every=20, held_out=1)
    out = tmp_path / "out"
    first = finetune_folder(bcv, out, recipe, run=Run(max_minutes=1e-9))
    assert (first.best_step, first.complete, Example.read(out).step) == (10, False, 10)
    history = finetune_folder(bcv, out, recipe, run=Run(resume=True))
    assert (history.best_step, history.complete, Example.read(out).step) == (0, True, 0)
    assert len(weights) == 5
    assert torch.equal(weights[4], weights[0])


def test_a_title_that_somebody_wrote_stays_when_the_training_is_resumed(bcv, scratch, tmp_path):
    recipe, card = replace(scratch, steps=11), tmp_path / "out" / "README.md"
    finetune_folder(bcv, tmp_path / "out", recipe, run=Run(max_minutes=1e-9))
    mine = card.read_text().replace("\n# out\n", "\n# My own\n")
    card.write_text(mine)
    with pytest.warns(UserWarning, match=r"README\.md stays as somebody wrote it"):
        assert finetune_folder(bcv, tmp_path / "out", recipe, run=Run(resume=True)).complete
    assert "\n# My own\n" in mine
    assert card.read_text() == mine


def test_a_readme_of_something_else_is_refused_before_a_case_is_prepared(bcv, scratch, tmp_path):
    """It was rewritten as the model's card, which `mots push` then refused."""
    out, mine = tmp_path / "out", "# Notes of Fr\u00e9d\u00e9ric".encode("latin-1")
    out.mkdir()
    (out / "README.md").write_bytes(mine)
    with pytest.raises(UserError, match="would be the model's card, and is none"):
        finetune_folder(bcv, out, replace(scratch, steps=11))
    assert not (out / ".cases").exists()
    assert (out / "README.md").read_bytes() == mine


def test_a_refused_resumption_leaves_the_prepared_cases(bcv, scratch, tmp_path):
    recipe = replace(scratch, steps=11)
    finetune_folder(bcv, tmp_path / "out", recipe, run=Run(max_minutes=1e-9))
    index = (tmp_path / "out" / ".cases" / "prepared.json").read_bytes()
    other = replace(recipe, spacing=(6.0, 4.0, 4.0))
    with pytest.raises(UserError, match="holds a training with spacing"):
        finetune_folder(bcv, tmp_path / "out", other, run=Run(resume=True))
    assert (tmp_path / "out" / ".cases" / "prepared.json").read_bytes() == index


def test_a_corrected_label_file_is_not_mixed_with_the_old_one(scratch, tmp_path):
    label = np.zeros((32, 32, 32), np.uint8)
    for place, name in enumerate("ab"):
        label[4 : 12 + place] = 1
        pair(tmp_path / "data", f"{name}.nii.gz", scan(place), label)
    recipe = replace(scratch, steps=11, classes=("organ",))
    finetune_folder(tmp_path / "data", tmp_path / "out", recipe, run=Run(max_minutes=1e-9))
    label[4:20] = 1
    pair(tmp_path / "data", "b.nii.gz", scan(1), label)
    with pytest.raises(UserError, match="holds a training with content "):
        finetune_folder(tmp_path / "data", tmp_path / "out", recipe, run=Run(resume=True))


@pytest.mark.parametrize("count", [0, 2])
def test_a_finished_training_is_not_returned_for_cases_that_have_changed(
    scratch, tmp_path, monkeypatch, count
):
    """It was, silently; files that were only touched are read, and found to be the same."""
    data, out, resume = tmp_path / "data", tmp_path / "out", Run(resume=True)
    label = np.zeros((32, 32, 32), np.uint8)
    for place, name in enumerate("ab"):
        label[4 : 12 + place] = 1
        pair(data, f"{name}.nii.gz", scan(place), label)
    recipe = replace(scratch, classes=("organ",), folds=count)
    finetune_folder(data, out, recipe)
    read, content = [], Job.read_content
    monkeypatch.setattr(Job, "read_content", lambda job: read.append(job) or content(job))
    assert finetune_folder(data, out, recipe, run=resume).complete
    assert read == []
    os.utime(data / "images" / "a.nii.gz", ns=(1, 12345))
    assert finetune_folder(data, out, recipe, run=resume).complete
    assert len(read) == 2
    record = (out / "training.json").read_text()
    label[4:20] = 1
    for folder, array in (("labels", label), ("images", scan(7))):
        kept = (data / folder / "b.nii.gz").read_bytes()
        volume = Volume.with_spacing(array, (12.0, 12.0, 12.0))
        write_like(data / folder / "b.nii.gz", array, volume, dtype=array.dtype)
        with pytest.raises(UserError, match=r'with content "2, .*; give it the very cases that it'):
            finetune_folder(data, out, recipe, run=resume)
        (data / folder / "b.nii.gz").write_bytes(kept)
    assert (out / "training.json").read_text() == record
    assert finetune_folder(data, out, recipe, run=resume).complete


def test_a_second_training_in_a_folder_is_refused(bcv, scratch, tmp_path):
    with locked(tmp_path / "out"), pytest.raises(UserError, match="another run is writing into"):
        finetune_folder(bcv, tmp_path / "out", scratch)
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_weights_are_saved_before_the_checkpoint_goes(bcv, scratch, tmp_path, monkeypatch):
    """A kill in between leaves both, and the training can be completed from there."""

    def killed(output, record):
        assert (output / "model.safetensors").exists()
        assert (output / "checkpoint.safetensors").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "complete", killed)
    with pytest.raises(KeyboardInterrupt):
        finetune_folder(bcv, tmp_path / "out", scratch)
    monkeypatch.undo()
    assert not json.loads((tmp_path / "out" / "training.json").read_text())["complete"]
    weights = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert finetune_folder(bcv, tmp_path / "out", scratch, run=Run(resume=True)).complete
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == weights
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


def test_no_case_is_read_again_that_an_interrupted_run_has_prepared(bcv, scratch, tmp_path):
    finetune_folder(bcv, tmp_path / "out", replace(scratch, steps=11), run=Run(max_minutes=1e-9))
    cases = sorted((tmp_path / "out" / ".cases" / "cases").glob("*/image.b2nd"))
    assert len(cases) == 3
    before = [path.stat().st_mtime_ns for path in cases]
    run = Run(resume=True, keep_cases=True)
    assert finetune_folder(bcv, tmp_path / "out", replace(scratch, steps=11), run=run).complete
    assert [path.stat().st_mtime_ns for path in cases] == before


def test_a_head_is_fitted_once_and_resumed_it_ends_with_the_same_bits(
    bcv, tiny, tmp_path, monkeypatch
):
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    recipe = replace(SHORT, start=str(tmp_path / "start"), steps=11)
    fitted, fit = [], finetune.fit_head
    monkeypatch.setattr(finetune, "fit_head", lambda *a, **k: fitted.append(1) or fit(*a, **k))
    finetune_folder(bcv, tmp_path / "whole", recipe)
    first = finetune_folder(bcv, tmp_path / "parts", recipe, run=Run(max_minutes=1e-9))
    assert not first.complete
    last = finetune_folder(bcv, tmp_path / "parts", recipe, run=Run(resume=True))
    assert len(fitted) == 2
    assert last.fitted["voxels"] == first.fitted["voxels"]
    one, other = (tmp_path / name / "model.safetensors" for name in ("whole", "parts"))
    assert one.read_bytes() == other.read_bytes()
    assert Segmenter.from_pretrained(tmp_path / "parts").config.new_head.kind == "levels"


SCRIPT = """
import sys
from mots_pretrained.training.finetune_folder import finetune_folder
from mots_pretrained.training.machine import prepare_machine
from mots_pretrained.training.recipe import Run, read_recipe
if __name__ == "__main__":
    data, recipe, folder = sys.argv[1:]
    prepare_machine("cpu", threads=1)
    finetune_folder(data, folder, read_recipe(recipe), run=Run(
        workers=1, resume=True, checkpoint_minutes=0, on_log=lambda row: print(row.step, flush=True)
    ))
"""


@pytest.mark.long
def test_killed_and_resumed_it_ends_with_the_same_bits(bcv, scratch, tmp_path):
    recipe = replace(scratch, steps=60, rate=3e-3, validate_every=20, ema=0.9, unfreeze=10)
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))
    both = whole_and_killed(SCRIPT, tmp_path, bcv, tmp_path / "recipe.yaml")
    one, other = (folder / "model.safetensors" for folder in both)
    assert one.read_bytes() == other.read_bytes()
    records = [json.loads((folder / "training.json").read_text()) for folder in both]
    assert records[0]["validations"] == records[1]["validations"]
    assert records[0]["best_step"] == records[1]["best_step"]
