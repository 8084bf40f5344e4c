"""From a folder to a model: sensible defaults from the data, and faults that name the file."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_folders import SHORT, pair, scan

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.config import SeenVolume
from mots_pretrained.errors import UserError
from mots_pretrained.inference.predictor import Predictor
from mots_pretrained.methods import METHODS
from mots_pretrained.networks import load
from mots_pretrained.report.example import Example
from mots_pretrained.tasks import BCV_ORGANS
from mots_pretrained.training import curve
from mots_pretrained.training import finetune_folder as module
from mots_pretrained.training.finetune_folder import finetune_folder
from mots_pretrained.training.recipe import Recipe, Run
from mots_pretrained.weights.provenance import read_training_scans

# The phantoms here are so coarse that the adrenal glands fall between voxels.
pytestmark = pytest.mark.filterwarnings("ignore:no label map of .* holds")


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


def test_a_value_that_no_class_names_ends_it_with_its_case(scratch, tmp_path):
    """It was told when all other cases had been prepared, and without the classes' names."""
    label = np.zeros((16, 16, 16), np.uint8)
    for name in "abc":
        label[2:5] = 7 if name == "a" else 2
        pair(tmp_path, f"{name}.nii.gz", scan(shape=label.shape), label)
    named = replace(scratch, classes=("liver", "spleen"), class_values=((1,), (2,)))
    wanted = (
        rf"{tmp_path}: labels/a.nii.gz holds label value 7, which is in no class; known are 0, 1, "
        r'2: correct the file, or name it by --classes FILE.json, {"liver": 1, "spleen": 2, '
        r'"class_7": 7}$'
    )
    with pytest.raises(UserError, match=wanted):
        finetune_folder(tmp_path, tmp_path / "out", named)
    assert not list((tmp_path / "out" / ".cases").glob("cases/[!.]*"))


def test_clipped_ct_that_was_said_to_be_ct_is_not_warned_of(scratch, tmp_path):
    label = np.zeros((8, 8, 8), np.uint8)
    label[2:5] = 1
    pair(tmp_path, "a.nii.gz", np.clip(scan(shape=(8, 8, 8)), -175, 250), label)
    recipe = replace(scratch, held_out=0, intensity="ct")
    finetune_folder(tmp_path, tmp_path / "out", recipe)
    config = Segmenter.from_pretrained(tmp_path / "out").config
    assert config.preprocessing.intensity == "ct"


def test_held_out_scans_that_were_learned_from_are_told(tiny, tmp_path):
    """A scan under two names was trained on and scored; so were scans that the weights had seen."""
    label = np.zeros((8, 8, 8), np.uint8)
    label[2:5] = 7
    for name, seed in (("a", 0), ("b", 0), ("c", 1), ("d", 2)):
        pair(tmp_path / "data", f"{name}.nii.gz", scan(seed, shape=(8, 8, 8)), label)
    first, second = (replace(SHORT, held_out=None, network=tiny, validation=names)
                     for names in (("b", "c"), ("a", "c", "d")))  # fmt: skip
    with pytest.warns(UserWarning, match="^1 of 2 scans held out are trained on, too, .*: b$") as w:
        finetune_folder(tmp_path / "data", tmp_path / "first", first)  # on a and d
    assert len(w) == 1
    start = str(tmp_path / "first")
    with pytest.warns(UserWarning, match="scores are too good") as told:
        finetune_folder(
            *(tmp_path / "data", tmp_path / "second", replace(second, network=None, start=start))
        )
    assert [str(warning.message).partition(", so")[0] for warning in told] == [
        "1 of 3 scans held out are trained on, too, under another name",
        f"2 of 3 scans held out were seen in the training of {start}",
    ]
    assert str(told[1].message).endswith(": a, d")


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
    assert [line for line in said if not line.startswith("Taken for CT, as there are")] == [
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
    recipe, said = replace(SHORT, start=str(tmp_path / "start"), held_out=0), []
    finetune_folder(tmp_path, tmp_path / "out", recipe, run=Run(say=said.append))
    assert said[0].startswith("Taken for MRI, by the folder's names of channels (t1, flair): z-")
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
