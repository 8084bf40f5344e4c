"""A published checkpoint as a folder that loads by its path."""

from __future__ import annotations

import hashlib

import pytest
import torch
from published_weights import published, random_weights
from small_networks import small

from mots_pretrained.converting import convert_checkpoint
from mots_pretrained.errors import UserError
from mots_pretrained.published import convert
from mots_pretrained.publishing import verify
from mots_pretrained.weights.card_renewal import read_card
from mots_pretrained.weights.checkpoint import load_folder


@pytest.fixture
def checkpoint(tmp_path):
    torch.save({"state_dict": random_weights(small("dodnet_conference"))}, tmp_path / "c.pth")
    return tmp_path / "c.pth"


def test_the_folder_holds_the_weights_their_number_and_their_fingerprint(checkpoint, tmp_path):
    made = convert_checkpoint(checkpoint, tmp_path / "net", {"spacing": "3,1,1"})
    config, state = convert(torch.load(checkpoint), {"spacing": "3,1,1"})
    assert made.folder == tmp_path / "net"
    assert made.parameters == sum(value.numel() for value in state.values())
    assert made.inspection.given == {"spacing": (3.0, 1.0, 1.0)}
    found = load_folder(made.folder)
    assert found[0] == config
    assert all(torch.equal(found[1][name], value) for name, value in state.items())
    assert verify(made.folder).sound


@pytest.mark.parametrize(("name", "expected"), [("", "net"), ("mine", "mine")])
def test_the_card_claims_no_licence(checkpoint, tmp_path, name, expected):
    made = convert_checkpoint(checkpoint, tmp_path / "net", name=name)
    card = read_card((made.folder / "README.md").read_text())
    assert (card.name, card.license) == (expected, "other")
    assert card.license_name == "not-stated-by-its-authors"
    assert "The authors' dodnet_conference network" in card.summary


def test_a_file_of_another_checksum_is_refused_before_it_is_read(checkpoint, tmp_path):
    own = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    with pytest.raises(UserError, match=f"has SHA-256 {own}, not {'0' * 64}"):
        convert_checkpoint(checkpoint, tmp_path / "net", sha256="0" * 64)
    assert not (tmp_path / "net").exists()
    assert convert_checkpoint(checkpoint, tmp_path / "net", sha256=own.upper()).parameters


def test_what_cannot_be_converted_leaves_nothing(tmp_path):
    torch.save(random_weights(published()), tmp_path / "c.pth")
    with pytest.raises(UserError, match="give nheads"):
        convert_checkpoint(tmp_path / "c.pth", tmp_path / "net", {"nheads": 5})
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        convert_checkpoint(tmp_path / "none.pth", tmp_path / "net")
    assert not (tmp_path / "net").exists()
