"""Organs learned beside old tasks from cases, folders and the command line."""

from __future__ import annotations

import dataclasses
import json
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mots_pretrained.adaptation.extended import add_file
from mots_pretrained.cli import main
from mots_pretrained.data.case import Case
from mots_pretrained.errors import UserError
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.methods import METHODS
from mots_pretrained.networks import load
from mots_pretrained.tasks import MOTS_TASKS
from mots_pretrained.training import add_organs as module
from mots_pretrained.training.add_organs import add_organs
from mots_pretrained.training.pretrain import network_from
from mots_pretrained.training.recipe import Recipe
from mots_pretrained.weights.addition import Addition
from mots_pretrained.weights.provenance import read_training_scans


@pytest.fixture
def base(tiny, tmp_path):
    torch.manual_seed(0)
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def bright(seed=0):
    """A bright box in noise, and its mask."""
    rng = np.random.default_rng(seed)
    image = rng.normal(-100, 20, (32, 32, 32))
    target = np.zeros((32, 32, 32), np.uint8)
    target[4:24, 4:24, 6:26] = 1
    image[target == 1] += 250
    image[:2] = -1000  # air, by which it is a CT
    return image.astype(np.int16), target


def case(seed=0):
    image, target = bright(seed)
    return Case((image[None] / 325).astype(np.float32), target[None], name=f"case {seed}")


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        for where, array in zip(("images", "labels"), bright(ord(name)), strict=True):
            path = tmp_path / "data" / where / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            value = array * 7 if where == "labels" else array
            write_like(path, value, Volume.with_spacing(value, (12.0, 12.0, 12.0)), dtype=np.int16)
    return tmp_path / "data"


@torch.no_grad()
def test_an_organ_is_found_and_the_old_tasks_keep_every_bit(base):
    net = load(base)
    image = torch.from_numpy(case(5).image)[None]
    before = net(image)
    extended = add_organs(net, [case(0), case(1)], classes=["box"], steps=300)
    after = extended(image)
    assert torch.equal(after[:, :7], before)
    assert not net.training
    found, truth = (after[0, 7, 0] > 0).numpy(), case(5).target[0] == 1
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8
    again = add_organs(base, [case(0), case(1)], classes=["box"], steps=300)
    assert torch.equal(again(image), after)
    more = add_organs(extended, [case(0)], classes=["other"], steps=20)
    assert [one.classes for one in more.config.added] == [("box",), ("other",)]
    assert torch.equal(more(image)[:, :8], after)


@torch.no_grad()
def test_organs_are_added_to_a_network_in_bfloat16(base, tmp_path):
    net = load(base).bfloat16()
    image = torch.from_numpy(case(5).image)[None].bfloat16()
    before = net(image)
    extended = add_organs(net, [case(0), case(1)], classes=["box"], steps=300)
    after = extended(image)
    assert torch.equal(after[:, :7], before)
    assert {value.dtype for value in extended.parameters()} == {torch.bfloat16}
    found, truth = (after[0, 7, 0] > 0).numpy(), case(5).target[0] == 1
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8
    extended.save_organs(tmp_path / "box.safetensors")
    assert torch.equal(add_file(net, tmp_path / "box.safetensors")(image), after)


def test_a_folder_may_be_given(base, folder):
    extended = add_organs(base, folder, steps=20)
    assert extended.config.added[0].classes == ("class_7",)
    assert extended.config.tasks[-1].organ_values == (7,)


def test_a_folder_s_values_may_be_named_and_its_scans_called_ct(base, folder):
    """As by --classes FILE.json and --intensity."""
    for path in (folder / "images").iterdir():
        scan = read_volume(path)
        write_like(path, scan.array.clip(-175, 250), scan, dtype=np.int16)  # no air is left
    with pytest.raises(UserError, match=r"asks for another input .* \(--intensity, --spacing\)"):
        add_organs(base, folder, steps=5)
    for values in (7, (7,)):
        extended = add_organs(base, folder, classes={"box": values}, intensity="ct", steps=5)
        task = extended.config.tasks[-1]
        assert (task.name, task.organ_values) == ("box", (7,))
    with pytest.raises(UserError, match="has classes that overlap; organs that are added must ex"):
        add_organs(base, folder, classes={"box": 7, "all": (7, 8)}, intensity="ct")
    with pytest.raises(UserError, match="what a folder's scans are; with cases leave it out"):
        add_organs(base, [case()], classes=["box"], intensity="ct")
    with pytest.raises(UserError, match="with cases give a list of names, in the order"):
        add_organs(base, [case()], classes={"box": (1,)}, steps=5)


def test_what_cannot_be_added_is_told(base, tmp_path):
    with pytest.raises(UserError, match="say what the classes"):
        add_organs(base, [case()])
    with pytest.raises(UserError, match="has 'liver' already"):
        add_organs(base, [case()], classes=["liver"], steps=5)
    with pytest.raises(UserError, match=r"classes must be a list of names, such as \['box'\]"):
        add_organs(base, [case()], classes="box")
    two = dataclasses.replace(case(), target=case().target.repeat(2, 0), labelled=(True, True))
    with pytest.raises(UserError, match="case 0 has 2 targets, the network 1"):
        add_organs(base, [two], classes=["a", "b"], steps=5)
    with pytest.raises(UserError, match="case 0 has class 2; the network has 1 classes"):
        add_organs(base, [dataclasses.replace(case(), target=2 * case().target)], classes=["box"])
    with pytest.raises(UserError, match=r"no such file: .*aorta\.safetensors"):
        load(base, add=tmp_path / "aorta.safetensors")


def test_the_verb_leaves_a_folder_that_combines_and_a_small_file(base, folder, tmp_path, capsys):
    words = ["finetune", "--add-to", str(base), "-i", str(folder), "--device", "cpu",
             "--workers", "0", "--val", "1"]  # fmt: skip
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"box": 7}))
    words += ["--classes", str(names)]
    out, file = tmp_path / "out", tmp_path / "box.safetensors"
    assert main([*words, "-o", str(out)]) == 0
    assert main([*words, "-o", str(file)]) == 0
    assert f"--model {base} --add {file}" in capsys.readouterr().out
    alone, beside = load_file(file), load_file(out / "organs.safetensors")
    assert all(torch.equal(value, beside[name]) for name, value in alone.items())
    assert not list(tmp_path.glob(".*safetensors*"))
    seen = read_training_scans(out).scans
    assert [*seen.values()] in (["data/a"], ["data/b"])
    assert Addition.load(file, kind="organs").scans == tuple(seen)
    assert b"data/" not in file.read_bytes()  # what is published names nobody
    capsys.readouterr()
    assert main(["models", "overlap", str(file), str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (name,) = (identifier.removeprefix("data/") for identifier in seen.values())
    assert found["seen"] == {str(folder / "images" / f"{name}.nii.gz"): ""}
    assert (found["scans"], found["complete"]) == (2, False)
    record = json.loads((out / "training.json").read_text())
    assert (record["complete"], record["classes"]) == (True, {"box": [7]})
    combined, added = load(out), load(base, add=[file])
    image = torch.from_numpy(case(5).image)[None]
    with torch.no_grad():
        assert torch.equal(combined(image), added(image))
        assert torch.equal(combined(image)[:, :7], load(base)(image))

    scan = str(folder / "images" / "a.nii.gz")
    for where, options in (("p", ["-m", str(base), "--add", str(file)]), ("q", ["-m", str(out)])):
        assert main(["predict", "-i", scan, "-o", str(tmp_path / where), *options]) == 0
    one, other = (read_volume(tmp_path / where / "a_seg.nii.gz").array for where in "pq")
    assert np.array_equal(one, other)
    assert json.loads((tmp_path / "p" / "labels.json").read_text())["box"] == 12

    assert main([*words, "-o", str(file)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*words, "-o", str(tmp_path / "x"), "--train", "head"]) == 2
    assert main([*words[:-1], "liver", "-o", str(tmp_path / "x")]) == 2
    assert "has 'liver' already" in capsys.readouterr().err
    assert main(["push", str(out), "-o", str(tmp_path / "pushed")]) == 0
    assert load(tmp_path / "pushed").config == combined.config
    network, _ = network_from(str(out), MOTS_TASKS)  # pretraining goes on without the head
    assert network.config == load(base).config
    kept = network.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in load(base).state_dict().items())


def test_a_single_file_is_learned_beside_its_place_and_a_failure_leaves_nothing(
    tmp_path, monkeypatch
):
    """The system's folder for temporary files may be small, as where it lies in memory."""
    places = []

    def fail(data, output, recipe, *, run):
        places.append(output.parent.parent)
        output.mkdir()
        if data == "stopped":
            signal.raise_signal(signal.SIGTERM)
        raise UserError("as for want of scans")

    monkeypatch.setattr(module, "finetune_folder", fail)
    monkeypatch.chdir(tmp_path)
    for file in (tmp_path / "new" / "deeper" / "box.safetensors", "box.safetensors"):
        with pytest.raises(UserError, match="as for want"):
            module.add_organs_folder("data", file, Recipe(steps=1))
    assert places == [tmp_path, tmp_path]
    with pytest.raises(SystemExit):
        module.add_organs_folder("stopped", "box.safetensors", Recipe(steps=1))
    assert not [*tmp_path.iterdir()]
