"""Options that name the original collections: one a task, and what is found by them."""

from __future__ import annotations

import inspect
import json
from typing import Annotated

import numpy as np
import pytest
import typer

from mots_pretrained.cli import collections, main
from mots_pretrained.errors import UserError
from mots_pretrained.images.nifti import write_nifti
from mots_pretrained.tasks import MOTS_TASKS

NONE = {task.name: "" for task in MOTS_TASKS}


@pytest.fixture
def spleens(tmp_path):
    """A Decathlon spleen collection of one tiny scan."""
    folder = tmp_path / "root" / "Task09_Spleen"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
        array = np.zeros((4, 4, 4), np.int16 if part == "imagesTr" else np.uint8)
        write_nifti(folder / part / "spleen_2.nii.gz", array, np.eye(4))
    pair = {"image": "./imagesTr/spleen_2.nii.gz", "label": "./labelsTr/spleen_2.nii.gz"}
    listed = {"labels": {"0": "background", "1": "spleen"}, "training": [pair], "test": []}
    (folder / "dataset.json").write_text(json.dumps(listed))
    return folder


def test_a_verb_gets_an_option_a_task_in_place_of_folders():
    def verb(*, first: int = 1, folders: dict, last: Annotated[str, typer.Option("-l")] = "x"):
        """Say what came."""
        return first, folders, last

    made = collections.with_folders(verb)
    names = [task.name for task in MOTS_TASKS]
    assert [*inspect.signature(made).parameters] == ["first", *names, "last"]
    assert made.__doc__ == "Say what came."
    given = dict.fromkeys(names, "") | {"liver": "here"}
    assert made(first=2, last="y", **given) == (2, given, "y")


@pytest.mark.parametrize("verb", ["prepare", "check"])
def test_each_task_has_its_option(verb, capsys):
    assert main([verb, "--help"]) == 0
    printed = capsys.readouterr().out
    for task in MOTS_TASKS:
        assert f"--{task.name.replace('_', '-')}" in printed


def test_a_collection_is_found_by_its_root_or_by_its_own_folder(spleens):
    for root, folders in ((str(spleens.parent), NONE), ("", {**NONE, "spleen": str(spleens)})):
        (found,) = collections.find(root, folders, None)
        assert [case.name for case in found.cases] == ["spleen_2"]
        assert found.supervises.name == "spleen"
    with pytest.raises(UserError, match="does not hold the liver collection"):
        collections.find("", {**NONE, "liver": str(spleens)}, None)


def test_what_a_root_lacks_is_said(spleens, capsys):
    """A collection in another folder, or unpacked by half, was missed without a word."""
    collections.find(str(spleens.parent), NONE, None)
    assert capsys.readouterr().out == (
        f"Not found below {spleens.parent}: liver (LiTS), kidney (KiTS19), hepatic_vessel (MSD "
        "Task08), pancreas (MSD Task07), colon (MSD Task10), lung (MSD Task06)\n"
    )
    collections.find("", {**NONE, "spleen": str(spleens)}, None)
    assert capsys.readouterr().out == ""


def test_nothing_named_is_told_with_what_to_name():
    with pytest.raises(UserError, match="name the folder of the collections with -i ROOT, or each"):
        collections.find("", NONE, None)


def test_as_many_workers_as_asked_for_else_at_most_eight(monkeypatch):
    monkeypatch.setattr("mots_pretrained.data.workers.cores", lambda: 64)
    assert [collections.worker_count(asked) for asked in (0, 1, 12)] == [8, 1, 12]
    with pytest.raises(UserError, match="--workers is 0 or more, not -1"):
        collections.worker_count(-1)
