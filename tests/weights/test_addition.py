"""Small files on top of a network's weights: there and back, and what is none."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from mots_pretrained.errors import UserError
from mots_pretrained.weights.addition import ORGANS_KIND, Addition, find_organs

ONE = Addition(
    ORGANS_KIND, "a" * 64, {"classes": ["aorta"]}, {"weight": torch.arange(6.0).view(2, 3).T}
)


def test_a_file_holds_what_was_saved(tmp_path):
    path = ONE.save(tmp_path / "new" / "aorta.safetensors")
    found = Addition.load(path, kind=ORGANS_KIND)
    assert (found.kind, found.base, found.facts) == (ONE.kind, ONE.base, ONE.facts)
    assert found.tensors.keys() == {"weight"}
    assert torch.equal(found.tensors["weight"], ONE.tensors["weight"])
    assert found.scans is None  # not recorded
    for scans in ((), ("b" * 64, "c" * 64)):
        again = dataclasses.replace(ONE, scans=scans, channels=("ct",)).save(path)
        found = Addition.load(again, kind=ORGANS_KIND)
        assert (found.scans, found.channels) == (scans, ("ct",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "lora"}, "holds no organs learned on top of"),
        ({"format_version": "x"}, "holds no organs learned on top of"),
        ({"format_version": "2"}, "format_version 2, this package reads up to 1"),
        ({"facts": "[1]"}, "does not say what it holds"),
        ({"facts": "{"}, "does not say what it holds"),
        ({"training_scans": "{"}, "its list of training scans is damaged"),
        ({"training_scans": '{"channels": ["ct"], "hashes": ["x"]}'}, "training scans is damaged"),
        ({"training_scans": '{"channels": [], "hashes": []}'}, "training scans is damaged"),
        ({"training_scans": "[]"}, "training scans is damaged"),
    ],
)
def test_what_is_no_such_file_is_told(tmp_path, changes, message):
    metadata = {"format_version": "1", "kind": "organs", "base_sha256": "", "facts": "{}"}
    save_file({"w": torch.zeros(1)}, tmp_path / "a", metadata={**metadata, **changes})
    with pytest.raises(UserError, match=message):
        Addition.load(tmp_path / "a", kind=ORGANS_KIND)


def test_missing_and_damaged_files_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        Addition.load(tmp_path / "none", kind=ORGANS_KIND)
    (tmp_path / "a").write_bytes(ONE.save(tmp_path / "b").read_bytes()[:40])
    with pytest.raises(UserError, match="no readable safetensors file"):
        Addition.load(tmp_path / "a", kind=ORGANS_KIND)


def test_other_weights_are_told_by_their_hash():
    ONE.check_base("a" * 64, "aorta.safetensors")
    with pytest.raises(UserError, match=r"SHA-256 a{12}\.\.\., these have b{12}"):
        ONE.check_base("b" * 64, "aorta.safetensors")


def test_a_path_is_found_as_it_is(tmp_path, monkeypatch):
    assert find_organs(tmp_path / "a.safetensors") == tmp_path / "a.safetensors"
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert str(find_organs("org/name")) == "org/name"  # what exists is no repository
