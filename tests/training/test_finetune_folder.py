"""From a folder to a model: sensible defaults from the data, and faults that name the file."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from killed_trainings import whole_and_killed

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.config import SeenVolume
from mots_pretrained.data.prepare_case import Job
from mots_pretrained.errors import UserError
from mots_pretrained.files import locked
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.inference.predictor import Predictor
from mots_pretrained.methods import METHODS
from mots_pretrained.networks import load
from mots_pretrained.phantom.collections import write_collection
from mots_pretrained.report.example import Example
from mots_pretrained.tasks import BCV_ORGANS
from mots_pretrained.training import curve, finetune
from mots_pretrained.training import finetune_folder as module
from mots_pretrained.training.finetune_folder import finetune_folder
from mots_pretrained.training.recipe import Recipe, Run, to_yaml
from mots_pretrained.weights.provenance import read_training_scans

# The phantoms here are so coarse that the adrenal glands fall between voxels.
pytestmark = pytest.mark.filterwarnings("ignore:no label map of .* holds")

SHORT = Recipe(steps=2, batch=1)


@pytest.fixture
def scratch(tiny):
    return replace(SHORT, network=tiny)


@pytest.fixture(scope="module")
def bcv(tmp_path_factory):
    root = tmp_path_factory.mktemp("bcv")
    write_collection("bcv", root, cases=3, shape=(24, 32, 32))
    return root


def pair(root, name, image, label, spacing=(12.0, 12.0, 12.0), folders=("images", "labels")):
    for folder, array, dtype in zip(folders, (image, label), (np.int16, np.uint8), strict=True):
        (root / folder).mkdir(parents=True, exist_ok=True)
        volume = Volume.with_spacing(array, spacing)
        write_like(root / folder / name, array, volume, dtype=dtype)


def scan(seed=0, shape=(32, 32, 32)):
    return np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)


def test_bcv_from_pretrained_weights_to_a_model_that_predicts(bcv, tiny, tmp_path):
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    recipe = replace(SHORT, start=str(tmp_path / "start"))
    history = finetune_folder(bcv, tmp_path / "out", recipe)
    model = Segmenter.from_pretrained(tmp_path / "out")
    assert model.config.classes == BCV_ORGANS
    assert model.config.preprocessing == tiny.preprocessing
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    cases = json.loads((tmp_path / "out" / "cases.json").read_text())
    assert (len(cases["train"]), len(cases["validation"])) == (2, 1)
    assert {*cases["train"], *cases["validation"]} == {"img0001", "img0002", "img0003"}
    assert "img000" not in json.dumps(record)  # names are often those of patients
    assert (record["train"], record["validation"]) == (2, 1)
    assert record["best_step"] == history.best_step
    assert [step for step, _ in record["validations"]] == [0, 2]  # the fitted head, and after
    assert record["mean_dice"] == cases["scores"]["mean_dice"] == history.best.mean_dice
    seen = read_training_scans(tmp_path / "out")
    assert {name.split("/")[-1] for name in seen.scans.values()} == {*cases["train"]}
    assert not seen.complete  # what the weights it started from have seen is not recorded
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        ".lock", "README.md", "cases.json", "config.json", "example.npz", "log.csv",
        "model.safetensors", "training.json", "training_scans.json",
    }  # fmt: skip
    example = Example.read(tmp_path / "out")
    assert (example.names, example.step) == (BCV_ORGANS, record["best_step"])
    assert example.truth.any()
    prediction = Predictor(model)(bcv / "img" / "img0001.nii.gz")
    assert prediction.labels.shape == (24, 32, 32)
    assert prediction.names == BCV_ORGANS


def test_the_pretrained_backbone_is_what_training_starts_from(bcv, tiny, tmp_path):
    torch.manual_seed(5)
    net = METHODS["transdodnet"](tiny)
    net.save_pretrained(tmp_path / "start")
    parts = ("encoder", "transformer", "decoder")
    frozen = Recipe(steps=1, batch=1, freeze=parts, start=str(tmp_path / "start"))
    finetune_folder(bcv, tmp_path / "out", frozen)
    tuned = Segmenter.from_pretrained(tmp_path / "out").backbone.state_dict()
    for name, value in net.backbone.state_dict().items():
        assert torch.equal(tuned[name], value)


def test_plain_folders_learn_the_values_that_are_there(scratch, tmp_path):
    """And keep them: a class that was 7 in the user's labels is written as 7."""
    label = np.zeros((32, 32, 32), np.uint8)
    label[4:12], label[20:24, 2:12, 2:12] = 3, 7
    pair(tmp_path, "a.nii.gz", scan(), label)
    alone = replace(scratch, held_out=0)
    finetune_folder(tmp_path, tmp_path / "out", alone)
    config = Segmenter.from_pretrained(tmp_path / "out").config
    assert (config.classes, config.class_values) == (("class_3", "class_7"), ((3,), (7,)))
    assert config.seen_volumes == (SeenVolume("class_7", 691.2, 691.2, 1, 0),)  # 400 x 1.728 ml
    named = replace(alone, classes=("liver", "spleen"), class_values=((3,), (7,)))
    finetune_folder(tmp_path, tmp_path / "named", named)
    config = Segmenter.from_pretrained(tmp_path / "named").config
    assert config.label_values == {"liver": (3,), "spleen": (7,)}


def test_a_data_list_s_folds_are_what_is_held_out(scratch, tmp_path):
    label = np.zeros((8, 8, 8), np.uint8)
    label[2:5] = 7
    for name in "abc":
        pair(tmp_path, f"{name}.nii.gz", scan(shape=(8, 8, 8)), label)
    training = [
        {"image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz", "fold": fold}
        for name, fold in zip("abc", (1, 0, 1), strict=True)
    ]
    path = tmp_path / "folds.json"
    path.write_text(json.dumps({"training": training, "labels": {"liver": 7}}))
    for recipe, held_out in [
        (scratch, [["b"]]),
        (replace(scratch, folds=2), [["b"], ["a", "c"]]),
        (replace(scratch, validation=("c",)), [["c"]]),
    ]:
        task, parts = module._plan(path, recipe, Run())
        assert [[case.name for case in held] for _, held in parts] == held_out
        assert task.classes == {"liver": (7,)}
    *_, (held,) = curve._parted(path, replace(SHORT, start="transdodnet.phantom"), Run(), 2)
    assert held.name == "b"


def test_cases_that_a_split_leaves_out_are_not_prepared_nor_trained_on(scratch, tmp_path):
    label = np.zeros((8, 8, 8), np.uint8)
    label[2:5] = 1
    for name in "abcd":
        pair(tmp_path, f"{name}.nii.gz", scan(shape=(8, 8, 8)), label)
    splits = [{"train": ["a"], "val": ["b"]}, {"train": ["a", "b"], "val": ["c"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(splits))
    said, run = [], Run()
    for recipe, trained, there in [
        (scratch, [["a"]], "ab"),
        (replace(scratch, folds=2), [["a"], ["a", "b"]], "abc"),
        (replace(scratch, validation=("d",), train_on=("c", "b")), [["b", "c"]], "bcd"),
    ]:
        task, parts = module._plan(tmp_path, recipe, replace(run, say=said.append))
        assert [[case.name for case in train] for train, _ in parts] == trained
        assert "".join(scan.name for scan in task.scans) == there
    assert said == [
        "2 cases are in neither part of this split and left out",
        "2 cases are in neither part of fold 0 and left out",
        "1 cases are in neither part of fold 1 and left out",
        "1 cases are in neither part of this split and left out",
    ]


def test_mri_regions_get_z_scores_their_own_spacing_and_sigmoids(tmp_path, tiny):
    label = np.zeros((32, 32, 32), np.uint8)
    label[4:20], label[8:12], label[30:] = 1, 2, 3
    for channel in range(2):
        pair(tmp_path, f"b_{channel:04d}.nii.gz", scan(channel), label, (2.0, 1.0, 1.0),
             ("imagesTr", "labelsTr"))  # fmt: skip
    for channel in range(2):
        (tmp_path / f"labelsTr/b_{channel:04d}.nii.gz").rename(tmp_path / "labelsTr/b.nii.gz")
    (tmp_path / "dataset.json").write_text(
        json.dumps(
            {
                "channel_names": {"0": "T1", "1": "FLAIR"},
                "labels": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
            }
        )
    )
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    recipe = replace(SHORT, start=str(tmp_path / "start"), held_out=0)
    finetune_folder(tmp_path, tmp_path / "out", recipe)
    config = Segmenter.from_pretrained(tmp_path / "out").config
    assert (config.classes, config.exclusive) == (("core", "whole"), False)
    assert config.label_values == {"core": (2,), "whole": (1, 2)}
    assert config.preprocessing.intensity == "zscore"
    assert config.preprocessing.channels == ("t1", "flair")
    assert config.preprocessing.spacing == pytest.approx((2.0, 1.0, 1.0))
    assert config.preprocessing.patch == tiny.preprocessing.patch


@pytest.mark.long
def test_folds_train_apart_resume_and_predict_together(bcv, tiny, tmp_path):
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    recipe = replace(SHORT, start=str(tmp_path / "start"), folds=3)
    out, said = tmp_path / "out", []
    run = Run(resume=True, say=said.append)
    history = finetune_folder(bcv, out, recipe, run=run)
    assert "Fold 1 of 3, 1 cases held out" in said
    held = [json.loads((out / f"fold_{k}/cases.json").read_text())["validation"] for k in range(3)]
    assert sorted(name for fold in held for name in fold) == ["img0001", "img0002", "img0003"]
    assert len(history.best.cases) == 3
    record = json.loads((out / "training.json").read_text())
    assert (record["folds"], record["complete"]) == (3, True)
    assert not (out / ".cases").exists()

    members = [Segmenter.from_pretrained(out / f"fold_{k}") for k in range(3)]
    ensemble = load(out)
    image = torch.randn(1, 1, 32, 32, 32)
    mean = torch.stack([member(image).softmax(1) for member in members]).mean(0)
    torch.testing.assert_close(ensemble(image).softmax(1), mean, atol=1e-6, rtol=1e-5)
    prediction = Predictor(ensemble)(bcv / "img/img0001.nii.gz")
    assert prediction.names == BCV_ORGANS

    before = (out / "fold_0/model.safetensors").stat().st_mtime_ns
    again = finetune_folder(bcv, out, recipe, run=run)
    assert (out / "fold_0/model.safetensors").stat().st_mtime_ns == before
    assert [case.scores for case in again.best.cases] == [c.scores for c in history.best.cases]
    for changes, what in (
        ({"steps": 3}, "steps 2, asked for is 3"),
        ({"folds": 2}, "folds 3, asked for is 2"),
        ({"folds": 0}, "folds 3, asked for is 0"),
        ({"seed": 5}, "seed 0, asked for is 5"),
    ):
        with pytest.raises(UserError, match=what):
            finetune_folder(bcv, out, replace(recipe, **changes), run=run)
        with pytest.raises(UserError, match="holds a finished training; choose another folder"):
            finetune_folder(bcv, out, replace(recipe, **changes))
    weights = (out / "fold_1/model.safetensors").read_bytes()
    shutil.rmtree(out / "fold_1")  # upon which a model that is loaded says to resume
    finetune_folder(bcv, out, recipe, run=run)
    assert (out / "fold_1/model.safetensors").read_bytes() == weights
    assert (out / "fold_0/model.safetensors").stat().st_mtime_ns == before
    assert len(load(out).members) == 3


def test_no_fold_is_begun_when_the_time_is_up(bcv, scratch, tmp_path):
    """Each would fit a head and train ten steps more."""
    recipe, out = replace(scratch, folds=3), tmp_path / "out"
    history = finetune_folder(bcv, out, recipe, run=Run(max_minutes=1e-9))
    assert not history.complete
    assert [path.name for path in out.glob("fold_*")] == ["fold_0"]
    assert finetune_folder(bcv, out, recipe, run=Run(resume=True)).complete
    assert len(list(out.glob("fold_*/model.safetensors"))) == 3


def test_a_folder_with_a_network_takes_no_folds(bcv, scratch, tmp_path):
    """Else the old network would predict, and not the folds that were just trained."""
    finetune_folder(bcv, tmp_path / "out", scratch)
    for run, what in ((Run(), "holds a finished training"), (Run(resume=True), "folds 0, asked")):
        with pytest.raises(UserError, match=what):
            finetune_folder(bcv, tmp_path / "out", replace(scratch, folds=2), run=run)
    assert not (tmp_path / "out" / "fold_0").exists()


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
        pair(tmp_path / "data", f"{name}.nii.gz", scan(), label)
    recipe = replace(scratch, steps=11, classes=("organ",))
    finetune_folder(tmp_path / "data", tmp_path / "out", recipe, run=Run(max_minutes=1e-9))
    label[4:20] = 1
    pair(tmp_path / "data", "b.nii.gz", scan(), label)
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


def test_the_head_alone_leaves_a_complete_folder(bcv, tiny, tmp_path):
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    recipe = replace(SHORT, start=str(tmp_path / "start"), train="head")
    out = tmp_path / "out"
    history = finetune_folder(bcv, out, recipe)
    record = json.loads((out / "training.json").read_text())
    assert (record["complete"], record["best_step"], record["steps_done"]) == (True, 0, 0)
    assert record["head_fitted"]["voxels"] == history.fitted["voxels"]
    assert not {"checkpoint.safetensors", ".cases"} & {path.name for path in out.iterdir()}
    assert finetune_folder(bcv, out, recipe, run=Run(resume=True)).best_step == 0
    with pytest.raises(UserError, match='train "head", asked for is "all"'):
        finetune_folder(bcv, out, replace(recipe, train="all"), run=Run(resume=True))


def test_the_weights_are_not_read_for_their_configuration(bcv, tiny, tmp_path, monkeypatch):
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    (tmp_path / "start" / "model.safetensors").write_bytes(b"")
    task, _ = module._plan(bcv, replace(SHORT, start=str(tmp_path / "start")), Run())
    assert task.contract == tiny.preprocessing


def test_faults_name_the_file(scratch, tmp_path):
    label = np.zeros((32, 32, 32), np.uint8)
    pair(tmp_path, "a.nii.gz", scan(), label)
    alone = replace(scratch, held_out=0)
    with pytest.raises(ValueError, match=r"a.nii.gz and all others hold nothing but background"):
        finetune_folder(tmp_path, tmp_path / "out", alone)
    with pytest.raises(ValueError, match="labels has no part in fine-tuning"):
        finetune_folder(tmp_path, tmp_path / "out", replace(alone, labels="complete"))
    for field, value in (("rate", 0.5), ("freeze", ("encoder",)), ("patience", 3)):
        recipe = replace(alone, train="head", **{field: value})
        with pytest.raises(UserError, match=f"{field} has no part in fitting a head alone"):
            finetune_folder(tmp_path, tmp_path / "out", recipe)
    other = replace(alone, network=None, size="paper", start="transdodnet.phantom")
    with pytest.raises(UserError, match="size asks for another network than transdodnet"):
        finetune_folder(tmp_path, tmp_path / "out", other)
    assert not (tmp_path / "out").exists()


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
