"""Checkpoints: whole or not at all, and nothing in them is executed."""

import pickle

import pytest
import torch

from mots_pretrained.training.resume import (
    load_checkpoint,
    random_state,
    save_checkpoint,
    set_random_state,
)


def test_round_trip_is_exact(tmp_path):
    state = {"step": 3, "model": {"w": torch.randn(5)}, "rows": [{"a": "1"}], "random": {}}
    save_checkpoint(tmp_path / "c.pt", state)
    back = load_checkpoint(tmp_path / "c.pt")
    assert torch.equal(back["model"]["w"], state["model"]["w"])
    assert (back["step"], back["rows"]) == (3, [{"a": "1"}])
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_a_failed_write_leaves_the_old_one(tmp_path):
    save_checkpoint(tmp_path / "c.pt", {"step": 1})
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(tmp_path / "c.pt", {"step": 2, "bad": lambda: None})
    assert load_checkpoint(tmp_path / "c.pt")["step"] == 1


class Evil:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 torn", pickle.dumps({"step": Evil()}, protocol=2), "other"]
)
def test_what_is_no_checkpoint_is_told_and_not_run(tmp_path, content, capsys):
    path = tmp_path / "c.pt"
    if content == "other":
        torch.save([1, 2], path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="checkpoint"):
        load_checkpoint(path)
    assert "executed" not in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_checkpoint(tmp_path / "none.pt")


def test_random_state_goes_on_where_it_was():
    state = random_state()
    first = torch.rand(3)
    set_random_state(state)
    assert torch.equal(torch.rand(3), first)
