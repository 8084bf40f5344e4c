"""Channels by their names: synonyms, files put in order, and what can't be."""

from pathlib import Path

import pytest

from mots_pretrained.data.layouts.channels import (
    are_numbered,
    channel_key,
    in_order,
    order_of,
    sequence_named,
)
from mots_pretrained.data.layouts.collection import CaseFiles, Collection

BRATS = ("t1", "t1ce", "t2", "flair")


@pytest.mark.parametrize(
    ("names", "key"),
    [
        ("t1 T1w t1n", "t1"),
        ("t1ce T1Gd t1c t1w_gd T1w-Gd", "t1ce"),
        ("T2 t2w", "t2"),
        ("FLAIR t2f T2-FLAIR t2_flair", "flair"),
        ("CT ct", "ct"),
    ],
)
def test_one_channel_has_several_names(names, key):
    assert {channel_key(name) for name in names.split()} == {key}


def test_the_name_of_a_file_ends_in_its_sequence():
    names = ("Brats18_1_t1", "BraTS-GLI-1-000-t2f", "sub-01_T2-FLAIR", "flair", "a_t1_gd")
    assert [sequence_named(name) for name in names] == ["t1", "flair", "flair", "flair", "t1ce"]
    assert {sequence_named(name) for name in ("at1", "t1_0003", "ct", "t1_seg")} == {None}


def test_order():
    assert order_of(BRATS, ("flair", "T1w", "t1gd", "T2w")) == (3, 0, 1, 2)
    assert order_of(("CT", "PET"), ("pet", "ct")) == (1, 0)
    for other in (BRATS[:3], (*BRATS, "dwi"), ("t1", "t1", "t2", "flair"), ("a", "b", "c", "d")):
        assert order_of(BRATS, other) is None
    assert order_of(("t1", "t1w"), ("t1", "t1w")) is None  # which is which?
    assert are_numbered(("channel_0", "channel_1"))
    assert not are_numbered(("channel_1", "channel_0"))


def test_files_follow_the_order():
    files = tuple(Path(name) for name in BRATS)
    found = Collection("x", Path("x"), (CaseFiles("a", files),), channels=BRATS)
    ordered = in_order(found, ("flair", "t1w", "t1gd", "t2w"))
    assert ordered.channels == ("flair", "t1w", "t1gd", "t2w")
    assert [path.name for path in ordered.cases[0].images] == ["flair", "t1", "t1ce", "t2"]
    assert in_order(found, ("a", "b", "c", "d")) is None
    whole = Collection("x", Path("x"), (CaseFiles("a", files[:1]),), channels=BRATS)
    assert in_order(whole, ("flair", "t1", "t1ce", "t2")) is None  # one file holds them all
    assert in_order(whole, ("t1n", "t1c", "t2w", "t2f")).cases == whole.cases
