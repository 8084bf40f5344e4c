"""Nothing is lost, whatever happens to the commands; ``make faults`` prints the table."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from faults.drive import PLAN
from faults.world import COMMANDS

ROOT = Path(__file__).parents[2]
DRIVE = Path(__file__).parent / "drive.py"
TOGETHER = (("pretrain",), ("finetune",), ("prepare", "predict", "download"))
"""Commands that one process forks, which imports everything first; each takes about as long."""


@pytest.mark.long
@pytest.mark.parametrize("commands", TOGETHER, ids=" ".join)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it forks, and reads /proc")
def test_nothing_is_lost(commands, tmp_path):
    path = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, DRIVE, *commands, path], capture_output=True, text=True, timeout=500
    )
    assert path.is_file(), done.stdout[-2000:] + done.stderr[-2000:]
    report = json.loads(path.read_text())
    assert report["failures"] == []
    expected = {row.fault: sum(row.times.get(one, 0) for one in commands) for row in PLAN}
    assert {name: count["recovered"] for name, count in report["counts"].items()} == expected


def test_the_readme_tells_how_many_injections_the_plan_has():
    """The tests above hold that the plan is carried out, and that nothing is lost."""
    text = (ROOT / "README.md").read_text("utf-8")
    count = sum(sum(row.times.values()) for row in PLAN)
    assert re.search(rf"`make faults` runs [^`]* {count} times ", text)
    assert "faults:" in (ROOT / "Makefile").read_text("utf-8")


def test_there_are_eighty_injections_into_every_command():
    assert sum(sum(row.times.values()) for row in PLAN) >= 80
    assert {command for row in PLAN for command in row.times} == {*COMMANDS}
    assert {command for commands in TOGETHER for command in commands} == {*COMMANDS}
