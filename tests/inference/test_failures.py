"""The list of failed scans: each run replaces the rows of its own scans, and no others."""

from __future__ import annotations

import csv
import errno
import threading
from pathlib import Path

import pytest

from mots_pretrained.errors import UserError
from mots_pretrained.inference.failures import FAILURES, Failure, write_failures


def listed(folder: Path) -> list[Failure]:
    with open(folder / FAILURES, newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert tuple(head) == Failure._fields == ("file", "kind", "reason")
    return [Failure(*row) for row in rows]


def wrapped(cause: Exception) -> UserError:
    error = UserError("ct.nii cannot be read")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (UserError("is\n  empty"), "UserError", "is empty"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError", "division by zero"),
        (MemoryError(), "MemoryError", "MemoryError"),
        (OSError(errno.ENOSPC, "No space left on device", "out.nii"), "OSError",
         "No space left on device: out.nii"),
        (PermissionError("no"), "PermissionError", "no"),
        (wrapped(PermissionError(errno.EACCES, "Permission denied")), "PermissionError",
         "ct.nii cannot be read"),
        (wrapped(ValueError("x")), "UserError", "ct.nii cannot be read"),
    ],
)  # fmt: skip
def test_what_went_wrong_is_one_line(error, kind, reason):
    assert Failure.of("ct.nii", error) == ("ct.nii", kind, reason)


def test_rows_of_other_scans_stay_and_an_empty_list_is_no_file(tmp_path):
    a, b, c = (Failure(f"{name}.nii", "UserError", f'{name}, "bad"') for name in "abc")
    out = tmp_path / "out"
    write_failures(out, [], ["a.nii"])
    assert not out.exists()
    write_failures(out, [c, a], ["a.nii", "c.nii"])
    assert listed(out) == [a, c]
    write_failures(out, [b], ["b.nii", "a.nii"])  # a is well by now
    assert listed(out) == [b, c]
    write_failures(out, [], ["b.nii", "c.nii"])
    assert not (out / FAILURES).exists()


def test_a_damaged_list_is_replaced(tmp_path):
    row = Failure("a.nii", "UserError", "bad")
    for text in ("", "no table", 'file,kind,reason\n"half', "file,kind,reason\na,b\n\0,x,y\n"):
        (tmp_path / FAILURES).write_text(text)
        write_failures(tmp_path, [row], ["a.nii"])
        assert row in listed(tmp_path)
    (tmp_path / FAILURES).write_bytes(b"file,kind,reason\n\xff\xfe,UserError,kept\n")
    write_failures(tmp_path, [row], ["a.nii"])
    assert [one.reason for one in listed(tmp_path)] == ["bad", "kept"]


def test_names_that_are_no_utf_8_are_known_again(tmp_path):
    name = b"\xff.nii".decode("utf-8", "surrogateescape")
    write_failures(tmp_path, [Failure(name, "UserError", "bad")], [name])
    assert listed(tmp_path)[0].file == "\\udcff.nii"
    write_failures(tmp_path, [], [name])
    assert not (tmp_path / FAILURES).exists()


def test_processes_that_write_at_the_same_time_lose_no_rows(tmp_path):
    names = [f"{k:02d}.nii" for k in range(12)]
    threads = [
        threading.Thread(
            target=write_failures,
            args=(tmp_path, [Failure(name, "UserError", "bad")], [name]),
        )
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.file for one in listed(tmp_path)] == names
