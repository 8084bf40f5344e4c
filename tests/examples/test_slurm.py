"""The sbatch files are sound shell, and the commands in them have the options that they give."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_docs_commands import commands

from mots_pretrained.cli import VERBS, main

FOLDER = Path(__file__).parents[2] / "examples" / "slurm"
FILES = sorted(FOLDER.glob("*.sbatch"))
PAGE = (FOLDER.parents[1] / "docs" / "cluster.md").read_text("utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_sound_and_its_page_shows_it(path, capsys, monkeypatch):
    text = path.read_text("utf-8")
    assert text.startswith("#!/bin/bash\n# ")
    if shutil.which("bash"):
        subprocess.run(["bash", "-n", str(path)], check=True)
    found = [(verb, words) for verb, words in commands(text) if verb in VERBS and "-o" in words]
    assert len(found) == 1
    monkeypatch.setenv("COLUMNS", "200")
    assert main([found[0][0], "--help"]) == 0
    shown = capsys.readouterr().out
    for option in re.findall(r"(?<!\S)(--?[a-z][\w-]*)", found[0][1]):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", shown), option
    assert f'--8<-- "examples/slurm/{path.name}"' in PAGE


def test_there_are_files():
    assert len(FILES) == 4
