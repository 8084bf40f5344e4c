"""A training's folder: owned by one, refused where it is used, continued with its own settings."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError
from mots_pretrained.files import RUN_LOG, locked
from mots_pretrained.training.folder import (
    BEFORE,
    CHECKPOINT,
    RECORD,
    Checkpoint,
    begin,
    check_readme,
    check_same,
    complete,
    finished,
    load_checkpoint,
    owned,
    save_checkpoint,
    written_card,
)
from mots_pretrained.weights.card import Description, model_card
from mots_pretrained.weights.card_renewal import renewed_card
from mots_pretrained.weights.provenance import tell_record

SETTINGS = {"rate": 0.1, "sizes": (1, 2)}


def used(folder, *, is_complete):
    begin(folder, SETTINGS)
    (folder / CHECKPOINT).touch()
    if is_complete:
        complete(folder, {"complete": True, "identity": SETTINGS})
        (folder / "model.safetensors").touch()


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path):
    with owned(tmp_path / "new", resume=False):
        (tmp_path / "new" / RUN_LOG).touch()
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with owned(tmp_path / "old", resume=False):
        pass
    assert (tmp_path / "old").exists()
    with owned(tmp_path / "kept", resume=False):
        begin(tmp_path / "kept", SETTINGS)
    assert (tmp_path / "kept" / RECORD).exists()


def test_one_that_is_refused_leaves_the_folder_of_the_other(tmp_path, monkeypatch):
    """Both found no folder; the other one holds nothing in it yet but its lock."""
    folder = tmp_path / "new"
    with owned(folder, resume=False):
        exists = Path.exists
        monkeypatch.setattr(Path, "exists", lambda path: path != folder and exists(path))
        with pytest.raises(UserError, match="another run"), owned(folder, resume=False):
            pass
        monkeypatch.undo()
        assert folder.is_dir()
        with pytest.raises(UserError, match="another run"), owned(folder, resume=False):
            pass


def test_a_disk_that_fails_late_leaves_both_checkpoints(tmp_path, monkeypatch):
    for number in range(2):
        save_checkpoint(tmp_path, Checkpoint({}, {"identity": {}, "step": number}))
    there = {name: (tmp_path / name).read_bytes() for name in (CHECKPOINT, BEFORE)}

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(tmp_path, Checkpoint({}, {"identity": {}, "step": 2}))
    assert there == {name: (tmp_path / name).read_bytes() for name in there}


def test_two_do_not_write_into_one_folder(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(UserError, match="another run is writing into"),
        owned(tmp_path, resume=True),
    ):
        pass


@pytest.mark.parametrize(
    ("is_complete", "told"),
    [
        (False, "holds an unfinished training; continue it with --resume, or choose another"),
        (True, "holds a finished training; choose another folder"),
    ],
)
def test_a_used_folder_is_refused_unless_it_is_to_be_resumed(tmp_path, is_complete, told):
    used(tmp_path, is_complete=is_complete)
    with pytest.raises(UserError, match=told), owned(tmp_path, resume=False):
        pass
    with owned(tmp_path, resume=True):
        pass


def test_a_model_that_no_training_has_left_is_never_touched(tmp_path):
    (tmp_path / "config.json").touch()
    for record in (None, "[]", '{"complete": 1, "identity": {}}', "{"):
        if record is not None:
            (tmp_path / RECORD).write_text(record)
        with pytest.raises(UserError, match=r"config\.json, which is of no training that can be"):
            finished(tmp_path, SETTINGS)


def test_what_is_complete_is_told_by_its_record_and_loses_its_checkpoint(tmp_path):
    assert finished(tmp_path, SETTINGS) is None
    used(tmp_path, is_complete=False)
    assert finished(tmp_path, SETTINGS) is None
    assert begin(tmp_path, SETTINGS) is None
    used(tmp_path, is_complete=True)
    assert not (tmp_path / CHECKPOINT).exists()
    assert finished(tmp_path, {"rate": 0.1})["complete"]
    assert begin(tmp_path, SETTINGS)["identity"] == {"rate": 0.1, "sizes": [1, 2]}
    with pytest.raises(UserError, match=r"with rate 0\.1, asked for is 0\.2"):
        finished(tmp_path, {**SETTINGS, "rate": 0.2})


def test_the_first_setting_in_which_two_trainings_differ_is_named(tmp_path):
    check_same(tmp_path, {"sizes": [1, 2]}, {"sizes": (1, 2)})
    for here, told in (
        ({"a": 1, "b": 3}, "with b 2, asked for is 3"),
        ({"a": 1}, "with b 2, asked for is null"),
        ({"a": 1, "b": 2, "c": "x"}, 'with c null, asked for is "x"'),
    ):
        with pytest.raises(UserError, match=told):
            check_same(tmp_path, {"a": 1, "b": 2}, here)


def test_a_checkpoint_comes_back_by_parts(tmp_path):
    weight = torch.arange(6.0).view(2, 3).T
    state = Checkpoint(
        {"model/a.b": weight, "average/a.b": weight + 1}, {"identity": {"rate": 0.1}, "step": 3}
    )
    save_checkpoint(tmp_path, state)
    found = load_checkpoint(tmp_path)
    assert found.values == state.values
    assert torch.equal(found.part("model")["a.b"], weight)
    assert found.part("average").keys() == {"a.b"}
    assert found.part("other") == {}


def test_what_is_no_checkpoint_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*; start without --resume"):
        load_checkpoint(tmp_path)
    for metadata in (None, {"training": "{"}, {"training": "[]"}, {"training": '{"identity": 1}'}):
        save_file({"a": torch.zeros(1)}, tmp_path / CHECKPOINT, metadata=metadata)
        with pytest.raises(UserError, match="is not a readable checkpoint"):
            load_checkpoint(tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(json.dumps({}).encode())
    with pytest.raises(UserError, match="is not a readable checkpoint"):
        load_checkpoint(tmp_path)


def test_a_card_that_somebody_wrote_stays_where_a_training_ends(tmp_path):
    config, folder = ModelConfig(), tmp_path / "out"
    folder.mkdir()
    assert written_card(folder, config) is None
    own = model_card(config, Description(name="out"))
    for text in (own, own.replace('"out"', '"other"'), own.replace("\n", "\r\n")):
        (folder / "README.md").write_text(text, newline="")
        assert written_card(folder, config) is None
    seen = own.replace("Seen in training: not recorded.", "Seen in training: our 20 scans.")
    for text in (own.replace("# out", "# My own"), "# Notes made meanwhile\r\n", seen):
        (folder / "README.md").write_text(text, newline="")
        with pytest.warns(UserWarning, match=r"README\.md stays as somebody wrote it"):
            assert written_card(folder, config) == text
    (folder / "README.md").write_bytes("# Fr\u00e9d\u00e9ric".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8 text; move it away"):
        written_card(folder, config)


def test_what_publishing_told_of_a_stopped_training_is_nobodys_words(tmp_path):
    """A card renewed in place stayed, with the steps of the stop, where the training went on."""
    config, folder = ModelConfig(), tmp_path / "out"
    folder.mkdir()
    record = {"from": "org/base", "train": 3, "steps_done": 10, "steps": 30, "complete": False}
    (folder / RECORD).write_text(json.dumps(record))
    own = model_card(config, Description(name="out"))
    filled = renewed_card(
        *(own, replace(config, thresholds={"liver": 0.75}), Description()),
        name="out",
        told=tell_record(record),
        seen="3 training scans.",
        base_model="org/base",
    )
    for told in ("base_model: org/base\n", "10 of 30 steps", "3 training scans.", "liver 0.75"):
        assert told in filled
    (folder / "README.md").write_text(filled)
    assert written_card(folder, config) is None
    (folder / "README.md").write_text(filled.replace("# out", "# My own"))
    with pytest.warns(UserWarning, match="stays as somebody wrote it"):
        found = written_card(folder, config)
    mine = model_card(config, Description(name="out", title="My own", base_model="org/base"))
    assert found == mine
    ends = filled.replace("# out", "# My own").replace("\n", "\r\n")
    (folder / "README.md").write_text(ends, newline="")
    with pytest.warns(UserWarning, match="stays as somebody wrote it"):
        assert written_card(folder, config) == mine.replace("\n", "\r\n")


@pytest.mark.parametrize("place", ["README.md", "fold_0/README.md"])
@pytest.mark.parametrize("content", [b"# A project of mine", b"---\nlicense: mit\n---\n\xe9"])
def test_a_readme_that_is_no_card_is_refused_where_a_training_would_take_it(
    tmp_path, place, content
):
    used(tmp_path, is_complete=False)
    (tmp_path / "fold_0").mkdir()
    (tmp_path / place).write_text(model_card(ModelConfig()))
    folds = 2 if place.startswith("fold") else 0
    check_readme(tmp_path, folds)
    (tmp_path / place).write_bytes(content)
    with pytest.raises(UserError, match=r"README\.md would be the model's card, and is none"):
        check_readme(tmp_path, folds)
    check_readme(tmp_path, 0 if folds else 2)  # no network is written there
    used((tmp_path / place).parent, is_complete=True)
    check_readme(tmp_path, folds)  # nothing is written beside a training that is complete
