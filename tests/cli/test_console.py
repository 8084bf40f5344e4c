"""What reaches the terminal: no control characters, any encoding, closed streams."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mots_pretrained.cli import console

SHOW = "import sys; from mots_pretrained.cli import console, frame\n"


def python(code: str, **changes: object) -> subprocess.CompletedProcess[bytes]:
    words = [sys.executable, "-c", SHOW + code]
    return subprocess.run(words, stderr=subprocess.PIPE, timeout=60, check=False, **changes)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("liver: 3 ml\n\tspleen", "liver: 3 ml\n\tspleen"),
        ("\u0142\u4e2d.nii.gz", "\u0142\u4e2d.nii.gz"),
        ("\x1b[2J\x1b]0;x\x07", r"\x1b[2J\x1b]0;x\x07"),
        ("a\rb\x08c\x7f", r"a\rb\x08c\x7f"),
        ("a\u202egnp.exe", r"a\u202egnp.exe"),
        ("\udc80", r"\udc80"),
    ],
)
def test_control_characters_are_escaped(text, shown, capsys):
    console.show(text)
    assert capsys.readouterr().out == shown + "\n"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1"])
def test_what_an_encoding_lacks_becomes_a_question_mark(encoding):
    work = "lambda words: console.show('\\u0142.nii') or console.warn('\\u4e2d')"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = python(f"frame.guarded({work}, [])", stdout=subprocess.PIPE, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"?.nii\n", b"?\n")


def test_closed_streams_do_no_harm(tmp_path):
    """A file opened later must not take a closed stream's place."""
    path = tmp_path / "a.txt"
    work = (
        "def work(words):\n"
        "    with open(words[0], 'w') as file:\n"
        "        file.write('whole')\n"
        "        console.show('x')\n"
        "        console.warn('y')\n"
        "    return 0\n"
    )
    code = f"{work}sys.exit(frame.guarded(work, [{str(path)!r}]))"
    closed = f"'{sys.executable}' -c \"$0\" >&- 2>&-"
    done = subprocess.run(["bash", "-c", closed, SHOW + code], timeout=60, check=False)
    assert done.returncode == 0
    assert path.read_text() == "whole"


def test_json_is_refused_what_json_lacks(capsys):
    console.show_json({"dice": 0.5})
    assert capsys.readouterr().out == '{\n  "dice": 0.5\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        console.show_json({"dice": float("nan")})
