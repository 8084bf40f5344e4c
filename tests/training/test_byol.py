"""BYOL-3D: what is compared, what moves, what is left, and trainings that go on after a stop."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import small
from torso_once import torso_once

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.cli import main
from mots_pretrained.data.case import Case
from mots_pretrained.data.layouts import find_bare
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.data.prepare import prepare_folder
from mots_pretrained.data.store import SetAside, write_index
from mots_pretrained.errors import UserError
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.model.encoder import STRIDE
from mots_pretrained.tasks import MOTS_TASKS
from mots_pretrained.training import byol, phantoms
from mots_pretrained.training.byol import (
    Byol,
    Views,
    byol_loss,
    distance,
    draw_views,
    feature_deviation,
    pretrain_byol,
    shared,
    target_decay,
)
from mots_pretrained.training.recipe import Run, read_recipe, to_yaml
from mots_pretrained.weights.provenance import read_training_scans


def test_distance_by_hand():
    a = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    assert distance(a, 5 * a) == pytest.approx(0.0, abs=1e-6)
    assert distance(a, -a) == pytest.approx(4.0)
    assert distance(a, a.flip(0)) == pytest.approx(2.0)  # at right angles


def test_deviation_by_hand():
    assert feature_deviation(torch.ones(5, 4) * torch.arange(1.0, 6)[:, None]) == 0  # one direction
    ends = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])  # deviations 1 and 0, their mean times root 2
    assert feature_deviation(ends) == pytest.approx(0.5 * 2**0.5)
    anywhere = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    assert feature_deviation(anywhere) == pytest.approx(1.0, abs=0.02)


def test_the_cells_that_two_views_share():
    whole = torch.arange(5 * 4 * 3.0).view(5, 4, 3, 1)
    first, second = whole[:4, 1:, :2], whole[1:, :3, :2]  # begun 1 later, 1 earlier, at the same
    torch.testing.assert_close(shared(first, [1, -1, 0]), whole[1:4, 1:3, :2])
    torch.testing.assert_close(shared(second, [-1, 1, 0]), whole[1:4, 1:3, :2])


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(20, 90), st.integers(40, 150), st.integers(40, 150)),
    cells=st.tuples(*[st.integers(1, 4)] * 3),
    seed=st.integers(0, 1000),
)
def test_views_hold_the_same_voxels_where_they_overlap(shape, cells, seed):
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    case = Case(image, np.zeros((0, *shape), np.uint8), (), ())
    patch = tuple(n * cell for n, cell in zip(cells, STRIDE, strict=True))
    crops, shift = draw_views(case, patch, np.random.default_rng(seed), appearance=None)
    assert crops.shape == (2, 1, *patch)
    own, other = [], []
    for by, n, cell, extent in zip(shift, cells, STRIDE, patch, strict=True):
        assert abs(by) <= n // 2
        own.append(slice(max(by, 0) * cell, extent + min(by, 0) * cell))
        other.append(slice(max(-by, 0) * cell, extent + min(-by, 0) * cell))
    np.testing.assert_array_equal(crops[0, 0][tuple(own)], crops[1, 0][tuple(other)])


def test_no_gradient_reaches_the_target_and_all_of_the_online_network_learns():
    config = small("backbone")
    torch.manual_seed(0)
    online, target = (Byol(MOTSBackbone(config).encoder, 10, hidden=8, out=4) for _ in "12")
    views = Views(torch.randn(2, 2, 1, 32, 64, 64), torch.tensor([[1, 0, 0], [0, -1, 1]]))
    loss = byol_loss(online, target, views)
    loss.total.backward()
    assert 0 < loss.total < 4
    assert all(p.grad is None for p in target.parameters())
    assert all(p.grad is not None for p in online.parameters())


def tiny(steps, **changes):
    config = small("transdodnet", tasks=MOTS_TASKS)
    config = replace(config, preprocessing=replace(config.preprocessing, patch=(32, 64, 64)))
    return replace(read_recipe("byol3d"), network=config, steps=steps, batch=2, **changes)


def test_the_targets_decay_rises_to_one_by_a_cosine():
    """1 - (1 - base) (cos(pi k/K) + 1) / 2, Grill et al. 2020."""
    decay = target_decay(0.99, 5000)
    assert [decay(step) for step in (0, 2500, 5000)] == pytest.approx([0.99, 0.995, 1.0])
    assert decay(1250) == pytest.approx(1 - 0.01 * (2**-0.5 + 1) / 2)


@pytest.fixture(autouse=True)
def _phantoms_made_once(monkeypatch):
    monkeypatch.setattr(phantoms, "torso", torso_once)


@pytest.mark.long
def test_it_learns_and_leaves_a_backbone_and_goes_on_to_the_same_bits(tmp_path):
    seen = []
    phantoms = {"randomise": 0.0, "patches_per_case": 16}
    recipe = tiny(20, **phantoms)
    backbone = pretrain_byol(tmp_path / "a", recipe, run=Run(on_log=seen.append))
    assert seen[-1].losses["total"] < 0.8 * seen[0].losses["total"]
    assert seen[-1].losses["deviation"] > 0.3
    stopped = pretrain_byol(tmp_path / "b", recipe, run=Run(max_minutes=1e-9))
    assert json.loads((tmp_path / "b" / "training.json").read_text())["steps_done"] == 10
    first = {name: value.clone() for name, value in stopped.state_dict().items()}
    with pytest.raises(ValueError, match="holds an unfinished training"):
        pretrain_byol(tmp_path / "b", recipe)
    with pytest.raises(ValueError, match="with steps 20, asked for is 21"):
        pretrain_byol(tmp_path / "b", tiny(21, **phantoms), run=Run(resume=True))
    resumed = pretrain_byol(tmp_path / "b", recipe, run=Run(resume=True))
    loaded = MOTSBackbone.from_pretrained(tmp_path / "b")
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
        assert torch.equal(value, loaded.state_dict()[name]), name
        moved = not torch.equal(value, first[name])
        assert moved == (name.startswith("encoder.") and value.is_floating_point()), name
    logs = [(tmp_path / name / "log.csv").read_text().splitlines() for name in "ab"]
    lines = [[line.rsplit(",", 1)[0] for line in log] for log in logs]  # all but the seconds
    assert lines[0] == lines[1]
    assert lines[0][0] == "step,total,deviation,rate,norm"
    segmenter = Segmenter.from_pretrained(tmp_path / "a", out_channels=3)
    name = "encoder.stem.0.weight"
    assert torch.equal(segmenter.backbone.state_dict()[name], backbone.state_dict()[name])
    record = json.loads((tmp_path / "a" / "training.json").read_text())
    assert (record["recipe"]["method"], record["complete"]) == ("byol3d", True)
    assert record["ema_reached"] == 1.0


@pytest.fixture
def scans(tmp_path):
    rng = np.random.default_rng(0)
    for place in ("one.nii.gz", "deeper/two.nii"):
        path = tmp_path / "scans" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        array = rng.integers(-900, 900, (60, 50, 40)).astype(np.int16)
        nib.save(nib.Nifti1Image(array, np.diag([4.0, 4.0, 5.0, 1.0])), path)
    return str(tmp_path / "scans")


def test_any_folder_of_scans_will_do(scans, tmp_path):
    pretrain_byol(tmp_path / "out", tiny(2), data=scans)
    seen = read_training_scans(tmp_path / "out")
    assert {*seen.scans.values()} == {"scans/one.nii.gz", "scans/deeper/two.nii"}
    assert json.loads((tmp_path / "out" / "training.json").read_text())["scans"] == 2
    array = np.random.default_rng(1).integers(-900, 900, (60, 50, 40)).astype(np.int16)
    nib.save(nib.Nifti1Image(array, np.diag([4.0, 4.0, 5.0, 1.0])), f"{scans}/one.nii.gz")
    with pytest.raises(
        UserError, match=r"with cases .*; give it the very cases that it began with"
    ):
        pretrain_byol(tmp_path / "out", tiny(2), data=scans, run=Run(resume=True))
    passes = replace(tiny(2), steps=None, epochs=1)  # two scans of four patches each, two a step
    pretrain_byol(tmp_path / "passes", passes, data=scans)
    assert json.loads((tmp_path / "passes" / "training.json").read_text())["steps_done"] == 4
    with pytest.raises(FileNotFoundError, match="no such folder"):
        pretrain_byol(tmp_path / "x", tiny(2), data="/nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no scan at any depth"):
        pretrain_byol(tmp_path / "x", tiny(2), data=tmp_path / "empty")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("labels", [False, True])
def test_a_folder_that_was_prepared_without_tasks_will_do(labels, scans, tmp_path):
    recipe, targets = replace(tiny(2), steps=None, epochs=1), None
    found = find_bare(scans)
    if labels:
        for scan in found.cases:
            image = nib.load(scan.images[0])
            nib.save(nib.Nifti1Image(np.ones(image.shape, np.uint8), image.affine),
                     tmp_path / f"{scan.images[0].name}.label.nii")  # fmt: skip
        own = [replace(scan, label=tmp_path / f"{scan.images[0].name}.label.nii")
               for scan in found.cases]  # fmt: skip
        found, targets = replace(found, cases=tuple(own)), Targets.of_classes({"all": (1,)})
    contract = recipe.config.preprocessing
    prepared = prepare_folder(found, tmp_path / "prepared", contract, targets)
    aside = (SetAside("three", "scans", "truncated"),)
    write_index(replace(prepared, set_aside=aside), {})
    with pytest.warns(UserWarning, match="could not be prepared, in whatever split: 1, such as th"):
        pretrain_byol(tmp_path / "out", recipe, data=tmp_path / "prepared")
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (record["scans"], record["steps_done"]) == (2, 4)  # of four patches each, two a step
    other = replace(prepared, contract=replace(contract, spacing=(9.0, 9.0, 9.0)))
    write_index(other, {})
    with pytest.raises(UserError, match=r"was prepared with spacing \(9.0"):
        pretrain_byol(tmp_path / "other", recipe, data=tmp_path / "prepared")
    write_index(replace(prepared, records=()), {})
    with pytest.raises(UserError, match="prepared holds no scan to train on"):
        pretrain_byol(tmp_path / "other", recipe, data=tmp_path / "prepared")


def test_the_main_process_tells_whether_a_folder_is_prepared(tmp_path, monkeypatch):
    """Another node may see it otherwise; processes that part ways wait for each other."""
    monkeypatch.setattr(byol, "on_main", lambda accelerator, work: not work())
    with pytest.raises(UserError, match="mots prepare"):
        pretrain_byol(tmp_path / "out", tiny(1), data=tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "tasks=liver"], "tasks has no part in a training by byol3d"),
        (["--from", "transdodnet.phantom"], "start has no part in a training by byol3d"),
        (["--set", "ema=null"], "so it needs ema"),
        (["-i", "/nowhere"], "no such folder: /nowhere"),
        (["--set", "size=huge"], "unknown size 'huge'"),
    ],
)
def test_what_byol3d_does_not_take_is_told_in_a_line(words, said, tmp_path, capsys):
    assert main(["pretrain", "--recipe", "byol3d", "-o", str(tmp_path / "o"), *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_the_command_trains_tells_what_is_random_and_warns_of_collapse(
    scans, tmp_path, monkeypatch, capsys
):
    (tmp_path / "tiny.yaml").write_text(to_yaml(tiny(1)))
    words = ["pretrain", "--recipe", str(tmp_path / "tiny.yaml"), "-i", scans]
    words += ["--workers", "0", "--device", "cpu", "--set", "half=true"]
    assert main([*words, "-o", str(tmp_path / "a")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Transformer and decoder are as random weights begin" in said
    assert "collapsed" not in said
    assert MOTSBackbone.from_pretrained(tmp_path / "a").config.architecture == "backbone"
    record = json.loads((tmp_path / "a" / "training.json").read_text())
    assert record["recipe"]["batch"] == 2
    monkeypatch.setattr(byol, "COLLAPSED", 10.0)
    assert main([*words, "-o", str(tmp_path / "b")]) == 0
    assert "The features have collapsed" in " ".join(capsys.readouterr().out.split())
