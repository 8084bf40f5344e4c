"""mots finetune: what it is told reaches the training, and errors are one line."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mots_pretrained.cli import main
from mots_pretrained.cli.finetune import _classes
from mots_pretrained.config import Preprocessing
from mots_pretrained.data.case import read_case
from mots_pretrained.data.layouts import find_labelled
from mots_pretrained.data.layouts.bcv import BCV_VALIDATION
from mots_pretrained.evaluation.compare import Difference
from mots_pretrained.evaluation.results import Results
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.training import finetune_folder as module
from mots_pretrained.training.curve import Curve, CurvePoint
from mots_pretrained.training.downstream import describe
from mots_pretrained.training.recipe import read_recipe
from mots_pretrained.training.validation import History

SHORT = ("--set", "steps=1", "--device", "cpu", "--workers", "0")


@pytest.fixture
def data(tmp_path):
    for name in ("img/img0001.nii.gz", "label/label0001.nii.gz"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    return tmp_path / "data"


def write(path, value, shape=(8, 8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full(shape, value, np.int16)
    array[:2] = 0 if "label" in path.parent.name else -1000
    write_like(path, array, Volume.with_spacing(array, (5.0, 4.0, 4.0)), dtype=np.int16)


@pytest.fixture
def described(tmp_path):
    """Two sound cases in nnU-Net's layout, which each test breaks in its own way."""
    root = tmp_path / "set"
    for name in ("a", "b"):
        write(root / f"imagesTr/{name}_0000.nii.gz", 40)
        write(root / f"labelsTr/{name}.nii.gz", 1)
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def refused(capsys, folder, *words):
    """Run the command on what is wrong; return its one line."""
    assert main(["finetune", "-i", str(folder), "-o", f"{folder}_out", *SHORT, *words]) == 2
    error = capsys.readouterr().err
    told = ("Fine-tuning", "Taken for")
    lines = [line for line in error.splitlines() if not line.startswith(told)]
    assert len(lines) == 1
    assert "Traceback" not in error
    assert not (folder.parent / f"{folder.name}_out/model.safetensors").exists()
    return lines[0]


def test_a_label_value_missing_from_dataset_json(described, capsys):
    write(described / "labelsTr/b.nii.gz", 3)
    assert "labelsTr/b.nii.gz holds label value 3" in refused(capsys, described)


def test_a_case_with_another_channel_count(described, capsys):
    write(described / "imagesTr/b_0001.nii.gz", 40)
    assert "imagesTr/b_0000.nii.gz: case b has 2 channel(s)" in refused(capsys, described)


def test_an_image_without_its_label(described, capsys):
    (described / "labelsTr/b.nii.gz").unlink()
    assert "imagesTr/b_0000.nii.gz has no label" in refused(capsys, described)


def test_a_label_on_another_grid(described, capsys):
    write(described / "labelsTr/b.nii.gz", 1, shape=(8, 8, 9))
    line = refused(capsys, described)
    assert "labelsTr/b.nii.gz lies on another grid than" in line


def test_another_number_of_folds_than_the_data_have(described, capsys):
    entries = [
        {"image": f"imagesTr/{name}_0000.nii.gz", "label": f"labelsTr/{name}.nii.gz", "fold": fold}
        for fold, name in enumerate("ab")
    ]
    path = described / "mine.json"
    path.write_text(json.dumps({"training": entries}))
    line = refused(capsys, path, "--folds", "3")
    assert "the data tell 2 folds, not 3 folds" in line
    path.unlink()
    splits = [{"train": ["a"], "val": ["b"]}]
    (described / "splits_final.json").write_text(json.dumps(splits))
    line = refused(capsys, described, "--folds", "2")
    assert "the data tell one part to hold out, not 2 folds" in line
    splits[0]["val"] = ["x"]
    (described / "splits_final.json").write_text(json.dumps(splits))
    line = refused(capsys, described)
    assert "splits_final.json holds out 'x', which is no labelled case here" in line


@pytest.mark.parametrize("words", [(), ("--folds", "5")])
def test_one_case_only(described, capsys, words):
    (described / "imagesTr/b_0000.nii.gz").unlink()
    (described / "labelsTr/b.nii.gz").unlink()
    line = refused(capsys, described, *words)
    assert "imagesTr/a_0000.nii.gz is the only labelled case" in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-i", "nowhere"], "no such folder: nowhere"),
        (["-i", "data", "--from", "nobody/nothing/x"], "nobody/nothing/x"),
        (["-i", "data", "--from", "none"], "img0001.nii.gz"),  # it is empty
        (["-i", "data", "--from", "none", "--channel-init", "mean"], "in training random weights"),
        (["-i", "data", "--from", "none", "--set", "fit_steps=9"], "where no head is fitted"),
        (["-i", "data", "--set", "fit_head=false", "--set", "fit_steps=9"], "where no head is"),
        (["-i", "data", "--add-to", "x", "--set", "channel_init=mean"], "no part in adding organs"),
        (["-i", "data", "--classes", "a,a"], "different names"),
        (["-i", "data", "--spacing", "4,3"], "--spacing takes three numbers"),
        (["-i", "data", "--intensity", "CT"], "intensity must be one of ct, zscore, not 'CT'"),
        (["-i", "data", "--channel-init", "last"], "random, first, mean, first_scaled, zero_new"),
        (["-i", "data", "--set", "layer_decay=2"], "layer_decay must be 1e-12 to 1, not 2"),
        (["-i", "data", "--set", "lr=1"], "unknown name 'lr'; allowed are method"),
        (["-i", "data", "--recipe", "other"], "unknown recipe 'other'; allowed are byol3d"),
        (["-i", "data", "--set", "labels=complete"], "labels has no part in fine-tuning"),
        (["-i", "data", "--steps", "3", "--epochs", "2"], "either steps or epochs"),
        (["-i", "data", "--val", "-2"], "held_out must be 0 to"),
        (["-i", "data", "--folds", "5", "--val", "bcv"], "folds hold each case out once"),
        (["-i", "data", "--seeds", "7"], "--seeds says how many a --curve has"),
        (["-i", "data", "--train", "head", "--steps", "9"], "steps has no part in fitting a head"),
        (["-i", "data", "--curve", "1,2", "--set", "epochs=9"], "epochs has no part in fitting"),
        (["-i", "data", "--train", "head", "--lr", "0.5"], "rate has no part in fitting a head"),
        (["-i", "data", "--val", "0", "--set", "patience=1"], "a training that holds no case out"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(
    data, tmp_path, monkeypatch, capsys, words, message
):
    monkeypatch.chdir(tmp_path)
    assert main(["finetune", "-o", "out", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.fixture
def called(monkeypatch):
    """Recipe and run of a training that is not done."""
    found = {}

    def run(folder, output, recipe, *, run):
        found.update(recipe=recipe, run=run)
        results = Results(("liver",))
        results.add("a", {"liver": {"dice": 0.5}})
        return History(validations=[(7, results)], best_step=7)

    monkeypatch.setattr(module, "finetune_folder", run)
    return found


def test_options_reach_the_training(data, tmp_path, called, capsys):
    words = (
        "--from none --classes liver,spleen --val 2 --device cpu --json --spacing 4,3,3 --resume "
        "--max-minutes 2 --intensity zscore --workers 3 --epochs 9 --batch 1 --lr 0.003 --seed 4"
    )
    sets = ["size=paper", "freeze=encoder", "patience=3", "accumulate=4",
            "precision=bfloat16", "recompute=true"]  # fmt: skip
    words = [*words.split(), *(word for one in sets for word in ("--set", one))]
    assert main(["finetune", "-i", str(data), "-o", str(tmp_path / "o"), *words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["best_step"], result["mean_dice"], result["complete"]) == (7, 0.5, True)
    expected = replace(
        read_recipe("finetune"), start=None, size="paper", classes=("liver", "spleen"),
        class_values=((1,), (2,)), held_out=2, spacing=(4.0, 3.0, 3.0), intensity="zscore",
        steps=None, epochs=9, batch=1, rate=0.003, seed=4, freeze=("encoder",), patience=3,
        accumulate=4, precision="bfloat16",
    )  # fmt: skip
    assert called["recipe"] == expected
    run = called["run"]
    assert (run.resume, run.max_minutes, run.device, run.workers) == (True, 2.0, "cpu", 3)
    assert run.recompute


@pytest.mark.parametrize(
    "words", [["--channel-init", "zero_new"], ["--set", "channel_init=zero_new"]]
)
def test_a_way_to_widen_is_refused_where_nothing_is_widened(described, called, capsys, words):
    """It did nothing, unsaid; a recipe that holds one for several data sets does."""
    line = refused(capsys, described, *words)
    assert "transdodnet.phantom takes 1 channel(s), as many as" in line
    assert "imagesTr/a_0000.nii.gz has; leave it out" in line
    (described / "r.yaml").write_text("start: transdodnet.phantom\nsteps: 9\nchannel_init: mean\n")
    own = ["finetune", "-i", str(described), "-o", f"{described}_out", "--device", "cpu"]
    assert main([*own, "--recipe", str(described / "r.yaml")]) == 0
    assert called["recipe"].channel_init == "mean"
    for name in ("a", "b"):
        write(described / f"imagesTr/{name}_0001.nii.gz", 40)
    assert main([*own, *words]) == 0
    assert called["recipe"].channel_init == "zero_new"


def test_common_settings_have_options_of_their_own(data, tmp_path, called):
    words = ["--steps", "7", "--batch", "3", "--lr", "1e-4", "--seed", "5", "--set", "seed=6"]
    assert main(["finetune", "-i", str(data), "-o", str(tmp_path / "o"), *words]) == 0
    recipe = called["recipe"]
    assert (recipe.steps, recipe.batch, recipe.rate, recipe.seed) == (7, 3, 1e-4, 6)


def test_class_values_of_a_file_are_kept(data, tmp_path, called):
    names = tmp_path / "names.json"
    names.write_text('{"lesion": 255, "organ": [1, 255]}')
    words = ["finetune", "-i", str(data), "-o", str(tmp_path / "o"), "--classes", str(names)]
    assert main(words) == 0
    assert called["recipe"].classes == ("lesion", "organ")
    assert called["recipe"].class_values == ((255,), (1, 255))


def test_a_fold_of_nnunet_s_splits_is_held_out(data, tmp_path, called, capsys):
    for name in ("img/img0002.nii.gz", "label/label0002.nii.gz"):
        (data / name).touch()
    names = ["img0001", "img0002"]
    splits = [{"train": names[1:], "val": names[:1]}, {"train": names[:1], "val": names[1:]}]
    (tmp_path / "other.json").write_text(json.dumps(splits))
    words = ["finetune", "-i", str(data), "-o", str(tmp_path / "out"), "--val"]
    assert main([*words, f"{tmp_path / 'other.json'}:1"]) == 0
    assert called["recipe"].validation == ("img0002",)
    assert called["recipe"].train_on == ("img0001",)
    assert main([*words, "splits:0"]) == 2
    assert "no such file" in capsys.readouterr().err
    (data / "splits_final.json").write_text(json.dumps(splits))
    assert main([*words, "splits:0"]) == 0
    assert called["recipe"].validation == ("img0001",)
    assert called["recipe"].train_on == ("img0002",)
    assert main([*words, "splits:2"]) == 2
    assert "the folds are 0 to 1" in capsys.readouterr().err


def test_a_fold_of_a_data_list_is_held_out(data, tmp_path, called, capsys):
    entry = {"image": "img/img0001.nii.gz", "label": "label/label0001.nii.gz", "fold": 0}
    path = data / "mine.json"
    path.write_text(json.dumps({"training": [entry]}))
    words = ["finetune", "-i", str(path), "-o", str(tmp_path / "out"), "--val"]
    assert main([*words, "splits:0"]) == 0
    assert called["recipe"].validation == ("img0001",)
    assert main([*words, "splits:1"]) == 2
    assert "the folds are 0 to 0" in capsys.readouterr().err
    (data / "splits_final.json").write_text(json.dumps([{"train": [], "val": ["img0001"]}]))
    assert main([*words, "splits:0"]) == 2
    assert "splits_final.json and" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "held_out", "names"),
    [([], None, ()), (["--val", "0"], 0, ()), (["--val", "bcv"], None, BCV_VALIDATION),
     (["--val", "img0001, img0002"], None, ("img0001", "img0002")), (["--val", "2"], 2, ()),
     (["--val", "0007"], None, ("0007",))],
)  # fmt: skip
def test_which_cases_are_held_out(data, tmp_path, called, capsys, words, held_out, names):
    assert main(["finetune", "-i", str(data), "-o", str(tmp_path / "o"), *words]) == 0
    assert (called["recipe"].held_out, called["recipe"].validation) == (held_out, names)
    assert "best at step 7" in capsys.readouterr().out


def test_folds_are_asked_for(data, tmp_path, called, capsys):
    words = ["finetune", "-i", str(data), "-o", str(tmp_path / "o"), "--folds", "5"]
    assert main(words) == 0
    assert called["recipe"].folds == 5
    assert "each by the fold that held it out (5 folds)" in capsys.readouterr().out


def test_a_curve_is_asked_for(data, tmp_path, monkeypatch, capsys):
    seen = {}

    def curve(folder, output, recipe, **options):
        seen.update(options, train=recipe.train)
        better = Difference("mean", 2, 0.6, 0.4, 0.2, 0.1, 0.3, 2, 0)
        return Curve((CurvePoint(4, 3, better),), complete=False, held_out=2)

    monkeypatch.setattr("mots_pretrained.training.curve.learning_curve", curve)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.yaml").write_text("start: transdodnet.phantom\nsteps: 9\n")
    (tmp_path / "r.yaml").write_text("start: transdodnet.phantom\nsteps: 9\ntrain: all\n")
    words = ["finetune", "-i", str(data), "-o", str(tmp_path / "o"), "--curve", "2, 4"]
    assert main([*words, "--seeds", "5"]) == 0
    assert (seen["counts"], seen["seeds"], seen["train"]) == ((2, 4), 5, "head")
    shown = capsys.readouterr().out
    assert shown.splitlines()[2].split() == [
        "4", "0.600", "0.400", "+0.200", "[+0.100,", "+0.300]", "3",
    ]  # fmt: skip
    assert "continue with the same command and --resume" in shown
    assert main([*words, "--train", "all", "-q"]) == 0
    assert seen["train"] == "all"
    for told, learns in ((["--set", "train=all"], "all"), (["--recipe", "r.yaml"], "all"),
                         (["--recipe", "plain.yaml"], "head"),
                         (["--recipe", "r.yaml", "--train", "head"], "head")):  # fmt: skip
        assert main([*words, *told, "-q"]) == 0
        assert seen["train"] == learns
    capsys.readouterr()
    assert main([*words, "--train", "all", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"][0]["interval"] == [0.1, 0.3]
    assert main([*words[:-1], "few"]) == 2
    assert "--curve takes numbers of scans" in capsys.readouterr().err


def test_a_fifth_value_of_brats_is_refused_with_the_classes_that_take_it(tmp_path, capsys):
    """As the resection cavity of 2024, which nothing but the label maps tells of."""
    root, name = tmp_path / "BraTS", "BraTS-GLI-00005-100"
    array = np.arange(8 * 8 * 8).reshape(8, 8, 8) % 5
    volume = Volume.with_spacing(array, (1.0, 1.0, 1.0))
    (root / name).mkdir(parents=True)
    for kind in ("t1n", "t1c", "t2w", "t2f", "seg"):
        write_like(root / name / f"{name}-{kind}.nii.gz", array, volume, dtype=np.int16)
    error = refused(capsys, root, "--val", "0")
    told, _, names = error.partition(" name it by --classes FILE.json, ")
    assert told.endswith("holds label value 4, which is in no class; known are 0, 1, 2, 3: "
                         "correct the file, or")  # fmt: skip
    assert json.loads(names) == {
        "enhancing_tumour": 3, "tumour_core": [1, 3], "whole_tumour": [2, 1, 3], "class_4": 4,
    }  # fmt: skip
    (tmp_path / "names.json").write_text(names)
    recipe = replace(read_recipe("finetune"), **_classes(f"{tmp_path / 'names.json'}"))
    task = describe(find_labelled(root), Preprocessing(), recipe)
    found = read_case(task.scans[0], task.contract, task.targets).target
    for channel, values in zip(found, ([3], [1, 3], [1, 2, 3], [4]), strict=True):
        assert np.array_equal(channel == 1, np.isin(array, values))
