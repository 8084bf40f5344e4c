"""The demonstration, small: what it leaves, what it says, and what it does with bad input."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from mots_pretrained.cli import main
from mots_pretrained.config import (
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    Preprocessing,
    TransformerConfig,
)
from mots_pretrained.demo import DemoSettings, demo
from mots_pretrained.networks import build, load
from mots_pretrained.tasks import BCV_ORGANS, MOTS_CATEGORIES
from mots_pretrained.training.finetune import finetune
from mots_pretrained.training.trainer import LOG_EVERY

TINY = ModelConfig(
    encoder=EncoderConfig(depth=10, stem_width=4, widths=(4, 4, 8, 8)),
    transformer=TransformerConfig(
        width=12, heads=2, feedforward=12, encoder_layers=1, decoder_layers=1
    ),
    decoder=DecoderConfig(widths=(8, 8, 8, 4, 4)),
    preprocessing=Preprocessing(
        spacing=(16.0, 12.0, 12.0), patch=(32, 64, 64), window=(32, 64, 64)
    ),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(7)  # not the demonstration's own, or random weights would be the same ones
    return str(build(TINY).save_pretrained(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def done(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "a" / "demo"
    told: list[str] = []
    settings = DemoSettings(
        model=model, steps=2, fitting=30, training_scans=2, test_scans=1, shape=(32, 48, 48)
    )
    results = demo(folder, settings=settings, say=told.append)
    return folder, results, told


def test_every_file_is_there_and_said_what_it_is(done):
    folder, results, _ = done
    there = {path.name + "/" * path.is_dir() for path in folder.iterdir()}
    assert there == set(results["files"])
    assert all(results["files"].values())
    assert json.loads((folder / "results.json").read_text()) == results


def test_label_maps_lie_on_the_scans_own_grid(done):
    folder, results, _ = done
    scan = nib.load(results["scan"]["file"])
    found = nib.load(folder / "img0001_seg.nii.gz")
    assert found.shape == scan.shape
    assert np.array_equal(found.affine, scan.affine)
    assert found.get_data_dtype() == np.uint8


def test_a_slow_machine_does_fewer_steps_and_the_other_network_has_no_longer(
    model, tmp_path, monkeypatch
):
    limits: list[float] = []

    def noted(segmenter, cases, recipe, *, run):
        limits.append(run.max_minutes)
        return finetune(segmenter, cases, recipe, run=run)

    monkeypatch.setattr("mots_pretrained.training.finetune.finetune", noted)
    settings = DemoSettings(
        model=model, steps=25, minutes=0, fitting=2, training_scans=1, test_scans=1,
        shape=(32, 48, 48),
    )  # fmt: skip
    told: list[str] = []
    found = demo(tmp_path / "demo", settings=settings, say=told.append)["finetuning"]
    assert found["pretrained"]["steps"] == LOG_EVERY  # time is looked at as often
    assert f"   ended after {LOG_EVERY} of 25 steps: 0.0 minutes were over" in told
    assert found["from_scratch"]["steps"] >= LOG_EVERY
    assert limits[0] == 0
    assert round(limits[1], 1) == found["pretrained"]["minutes"]


def test_scores_are_of_known_truths(done):
    _, results, _ = done
    assert tuple(results["scan"]["dice"]) == MOTS_CATEGORIES
    comparison = results["finetuning"]
    assert (comparison["training_scans"], comparison["test_scans"]) == (2, 1)
    for start in ("pretrained", "from_scratch"):
        scores = [s for s in comparison[start]["dice"].values() if s is not None]
        assert tuple(comparison[start]["dice"]) == BCV_ORGANS
        assert all(0 <= score <= 1 for score in scores)
        assert comparison[start]["mean_dice"] == pytest.approx(np.mean(scores))
    drawn = sorted(path.name for path in (done[0] / "phantoms" / "img").iterdir())
    assert len(drawn) == 4
    (scored,) = comparison["pretrained"]["cases"]  # the one neither segmented nor trained on
    assert scored in drawn[-1]


def test_both_networks_load_and_only_one_began_pretrained(done, model):
    folder, _, _ = done
    pretrained, scratch = load(folder / "pretrained"), load(folder / "from_scratch")
    assert pretrained.config == scratch.config
    assert pretrained.config.classes == BCV_ORGANS
    before = load(model).backbone.encoder.state_dict()

    def distance(net):
        after = net.backbone.encoder.state_dict()
        return sum((after[key] - before[key]).square().sum() for key in before).sqrt()

    assert distance(pretrained) < distance(scratch) / 2


def test_one_head_is_fitted_first_and_the_other_network_has_as_long(done):
    _, results, told = done
    pretrained, scratch = (results["finetuning"][s] for s in ("pretrained", "from_scratch"))
    assert pretrained["head_fitted"]["voxels"] > 0
    assert scratch["head_fitted"] is None
    assert pretrained["steps"] == 2
    assert scratch["steps"] >= 2
    assert any("fitting the head took" in line for line in told)


def test_it_tells_its_steps_and_what_was_measured(done):
    _, results, told = done
    assert [line[0] for line in told if line[1:2] == "."] == ["1", "2", "3", "4"]
    assert "Phantoms are not patients" in results["note"]


def test_a_scan_of_ones_own_has_no_known_truth(model, done, tmp_path):
    settings = DemoSettings(
        model=model, steps=1, fitting=5, training_scans=1, test_scans=1, shape=(24, 32, 32)
    )
    results = demo(tmp_path / "demo", done[1]["scan"]["file"], settings=settings)
    assert results["scan"]["dice"] is None
    assert results["scan"]["millilitres"] == done[1]["scan"]["millilitres"]
    assert len(list((tmp_path / "demo" / "phantoms" / "img").iterdir())) == 3


def test_what_cannot_be_run_leaves_nothing(model, tmp_path, capsys):
    out = tmp_path / "demo"
    (tmp_path / "broken.nii.gz").write_bytes(b"not a scan")
    for words in (
        ["-i", str(tmp_path / "nowhere.nii.gz")],
        ["-i", str(tmp_path / "broken.nii.gz")],
    ):
        assert main(["demo", "-m", model, "-o", str(out), *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["demo", "-m", model, "-o", str(out), "--steps", "0"]) == 2
    assert main(["demo", "-m", "transdodnet.mots", "-o", str(out)]) == 2
    assert not out.exists()
