"""The sbatch files are sound shell, and the commands in them have the options that they give."""

from __future__ import annotations

import os
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
    assert f"```sh\n{text}```" in PAGE


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_task_of_srun_gets_the_cores_that_the_job_has(path, tmp_path):
    """Run with an srun that tells what it is given; it takes no cores from the job by itself."""
    text, told = path.read_text("utf-8"), tmp_path / "told"
    (cores,) = re.findall(r"#SBATCH --cpus-per-task=(\d+)", text)
    for name, does in (
        ("srun", f'echo "$SRUN_CPUS_PER_TASK" >> {told}'),
        ("scontrol", "echo node1; echo node2"),
        ("sleep", ""),
        ("mots", ""),
    ):
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_CPUS_PER_TASK": cores, "SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "node[1-2]"}
    given = dict.fromkeys(("SCANS", "OUT", "MODEL", "PREPARED"), "x")
    search = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    environment = {**search, **job, **given}
    subprocess.run(["bash", str(path)], check=True, env=environment, capture_output=True)
    found = told.read_text().split() if told.exists() else []
    assert found == [cores] * len(re.findall(r"^[^#\n]*\bsrun ", text, re.MULTILINE))


def test_there_are_files():
    assert len(FILES) == 4
