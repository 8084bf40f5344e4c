"""Trainings in processes of their own: one undisturbed, one killed twice and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def whole_and_killed(script: str, folder: Path, *words: object) -> tuple[Path, Path]:
    """Train for 60 steps without and with kills; return both output folders.

    Args:
        script: Program that trains into the folder named by its last word, or resumes what is
            there, and prints each step of its log.
        folder: Where program and outputs lie.
        words: The program's other words.
    """
    (folder / "run.py").write_text(script)

    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, folder / "run.py", *words, folder / name]
        return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)

    assert start("whole").communicate()[0].split() == [str(step) for step in range(10, 61, 10)]
    for kill_after in ("20", "40"):
        killed = start("killed")
        assert killed.stdout is not None
        for line in killed.stdout:
            if line.strip() == kill_after:
                break
        time.sleep(0.3)  # somewhere in the steps after it
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        killed.stdout.read()  # ends only once its worker processes, who inherited it, have ended
        killed.stdout.close()
    assert start("killed").communicate()[0].split()[-1] == "60"
    return folder / "whole", folder / "killed"
