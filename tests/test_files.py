"""Files appear whole or not at all, under names that stay in their folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mots_pretrained.errors import UserError
from mots_pretrained.files import (
    _beside,
    file_names,
    inside,
    locked,
    remove_drafts,
    replacing,
    replacing_by_name,
    replacing_folder,
    write_json,
)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("left kidney+tumour_2.1-b", "left kidney+tumour_2.1-b"),
        ("Niere (links)", "Niere _links_"),
        ("肝臓", "肝臓"),
        ("tumor/edema", "tumor_edema"),
        ("../../outside", "_.._outside"),
        ("/etc/passwd", "_etc_passwd"),
        ("C:\\x", "C__x"),
        (".hidden", "hidden"),
        ("..", "_"),
        ("", "_"),
        ("con", "_con"),
        ("a\x00\n\x1b", "a___"),
    ],
)
def test_a_name_becomes_a_harmless_file_name(name, file):
    assert file_names([name]) == {name: file}


def test_names_that_would_be_one_file_are_numbered():
    names = file_names(["a/b", "a_b", "A_B", "a_b_2"])
    assert names == {"a/b": "a_b", "a_b": "a_b_2", "A_B": "A_B_3", "a_b_2": "a_b_2_2"}


@given(st.lists(st.text(max_size=300), max_size=5))
def test_any_names_become_different_names_within_their_folder(names):
    given = file_names(names)
    assert list(given) == list(dict.fromkeys(names))
    assert len({file.casefold() for file in given.values()}) == len(given)
    for file in given.values():
        assert Path("folder", file).parent == Path("folder")
        assert len(f"{file}.nii.gz".encode()) < 255
        assert not file.startswith(".")


def test_what_is_written_lies_inside_its_folder(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    assert inside(out, out / "a" / "b.nii.gz") == out / "a" / "b.nii.gz"
    for path in (out / ".." / "b", tmp_path / "output", Path("/etc/passwd")):
        with pytest.raises(UserError, match="lies outside of"):
            inside(out, path)
    (out / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="lies outside of"):
        inside(out, out / "link" / "b")


def test_a_name_as_long_as_the_file_system_allows_is_written(tmp_path):
    name = "x" * 248 + ".nii.gz"
    write_json(tmp_path / name, [1])
    with replacing_by_name(tmp_path / name) as draft:
        assert draft.name.endswith(".nii.gz")
        assert draft.parent == tmp_path
        draft.write_text("new")
    assert (tmp_path / name).read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_failed_write_leaves_the_old_file_and_names_it(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left on device") as caught:
        write()
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_another_process_made_meanwhile_is_kept(tmp_path):
    """Two workers may draw the same phantom, which the others read already."""
    for content in ("one", "two"):
        with replacing_folder(tmp_path / "a", keep=True) as draft:
            (draft / "x").write_text(content)
    assert (tmp_path / "a" / "x").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_drafts_of_processes_that_run_are_left_and_those_of_the_dead_go(tmp_path):
    """This process's parent runs; no process has so large a number."""
    _, own, digest, ending = _beside(tmp_path / "a.json").name.split(".")
    machine, parent = own.split("-")[1], os.getppid()
    running = f".{parent}-{machine}.{digest}.{ending}"
    gone = [
        _beside(tmp_path / "a.json").name,  # of an earlier process of this number
        f".99999999-{machine}.{digest}.{ending}",
        f".{parent}-000000.{digest}.{ending}",  # of another machine
        f".{parent}.{digest}.{ending}",  # of an earlier version
    ]
    kept = {running, ".lock", ".cases", ".1.note", _beside(tmp_path / "b.json").name}
    for name in (*gone, *kept):
        (tmp_path / name).write_text("x")
    remove_drafts(tmp_path / "a.json")
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_machines_that_number_their_processes_alike_do_not_share_a_draft(tmp_path, monkeypatch):
    import platform

    first = _beside(tmp_path / "labels.json")
    monkeypatch.setattr(platform, "node", lambda: "another")
    assert _beside(tmp_path / "labels.json") != first


def test_of_a_folder_all_drafts_go(tmp_path):
    for name in ("a.json", "b.safetensors"):
        draft = _beside(tmp_path / name)
        draft.write_text("x")
    _beside(tmp_path / "folder").mkdir()
    (tmp_path / "c.json").write_text("x")
    remove_drafts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


def test_a_file_system_without_locks_is_no_folder_in_use(tmp_path, monkeypatch):
    """It was "another run is writing into it", of which no waiting helps."""
    fcntl = pytest.importorskip("fcntl")

    def flock(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.warns(UserWarning, match="knows no locks; let no two runs write into its folder"),
        locked(tmp_path),
    ):
        pass
    held = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    monkeypatch.setattr(fcntl, "flock", lambda file, how: (_ for _ in ()).throw(held))
    with pytest.raises(UserError, match="another run is writing into"), locked(tmp_path):
        pass
