from __future__ import annotations

import pytest

from mots_pretrained.weights.training_scans import TrainingScans, read_training_scans


def test_round_trip_and_what_was_seen(tmp_path):
    one, two = "0" * 64, "a" * 64
    known = TrainingScans("LiTS", {one: "LiTS/liver_1"})
    (tmp_path / "training_scans.json").write_text(known.to_text())
    assert read_training_scans(tmp_path) == known
    assert known.seen({"mine.nii.gz": one, "yours.nii.gz": two}) == {"mine.nii.gz": "LiTS/liver_1"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format_version": 2, "statement": "", "scans": {}}',
        '{"format_version": 1, "statement": "", "scans": {"short": "x"}}',
        '{"format_version": 1, "statement": 3, "scans": {}}',
        '{"format_version": 1, "statement": "", "scans": []}',
    ],
)
def test_a_damaged_list_is_not_taken_for_an_empty_one(tmp_path, text):
    (tmp_path / "training_scans.json").write_text(text)
    with pytest.raises(ValueError, match="damaged or of a newer version"):
        read_training_scans(tmp_path)


def test_without_a_list_nobody_knows(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not known"):
        read_training_scans(tmp_path)
