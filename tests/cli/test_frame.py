"""The frame of the command line, in real processes: exit status, single lines, nothing slow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from importlib import import_module

import pytest

from mots_pretrained.cli import VERBS, main
from mots_pretrained.cli.frame import guarded, run_verb


def mots(*words: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    start = ["-m", "mots_pretrained"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *start, *words], capture_output=True, text=True, timeout=120, check=False
    )


def raising(error: BaseException):
    def work(words: list[str]) -> int:
        raise error

    return work


def test_asking_for_help_imports_no_torch():
    asked = [["--help"], ["--version"], [], *([name, "--help"] for name in VERBS)]
    code = (
        "import sys; from mots_pretrained.cli import main\n"
        f"for words in {asked}:\n"
        "    assert main(words) == 0, words\n"
        "    heavy = {'torch', 'monai', 'nibabel', 'matplotlib'} & set(sys.modules)\n"
        "    assert not heavy, (words, heavy)\n"
    )
    done = mots(code=code)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_lists_every_verb_with_its_summary():
    done = mots("--help")
    for name, verb in VERBS.items():
        assert f"  {name} " in done.stdout
        assert verb.summary in done.stdout


@pytest.mark.parametrize("name", list(VERBS))
def test_every_verb_exists_and_explains_itself(name, capsys):
    module, function = VERBS[name].target.split(":")
    assert callable(getattr(import_module(module), function))
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--verbose" in shown
    assert "--quiet" in shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["predit"], "did you mean 'predict'?"),
        (["xyzzy"], "there are: demo, models"),
        (["--frobnicate"], "unknown option"),
        (["models", "--frobnicate"], "see: mots models --help"),
        (["models", "a", "b"], "an action: download, verify, overlap"),
        (["models", "transdodnet.phantm"], "did you mean transdodnet.phantom"),
        (["models", "nothing-like-it"], "org/repo"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(words, told):
    done = mots(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("spacing is 0;\n  give  more"), 2, "error: spacing is 0; give more\n"),
        (KeyError("unknown task 'x'"), 2, "error: unknown task 'x'\n"),
        (FileNotFoundError(2, "No such file", "a.nii"), 2, "error: No such file: a.nii\n"),
        (FileNotFoundError("no folder b"), 2, "error: no folder b\n"),
        (IsADirectoryError(21, "Is a directory", "d"), 2, "error: Is a directory: d\n"),
        (PermissionError(13, "Permission denied", "p"), 2, "error: Permission denied: p\n"),
        (ValueError(), 2, "error: ValueError\n"),
        (RuntimeError("no luck"), 1, "failed: RuntimeError: no luck (run again with -v"),
        (OSError(28, "No space left on device", "f"), 1, "failed: OSError: No space left on"),
        (MemoryError(), 1, "failed: MemoryError: MemoryError (run again"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_errors_become_one_line_and_a_status(error, status, line, capsys, monkeypatch):
    monkeypatch.delenv("MOTS_DEBUG", raising=False)
    assert guarded(raising(error), []) == status
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(line)
    assert told.err.count("\n") == 1


def test_the_traceback_is_there_for_those_who_ask(capsys, monkeypatch):
    monkeypatch.setenv("MOTS_DEBUG", "1")
    assert guarded(raising(RuntimeError("no luck")), []) == 1
    assert "Traceback" in capsys.readouterr().err


def test_warnings_are_single_lines(capsys):
    def work(words: list[str]) -> int:
        warnings.simplefilter("always")
        warnings.warn("this looks\n like no CT", UserWarning, stacklevel=1)
        return 0

    assert guarded(work, []) == 0
    assert capsys.readouterr().err == "warning: this looks like no CT\n"


def test_quiet_and_json_hush_steps_but_not_results(capsys):
    target = "mots_pretrained.cli.models:models"
    assert run_verb("models", target, []) == 0
    assert "Show one with" in capsys.readouterr().out
    assert run_verb("models", target, ["-q"]) == 0
    quiet = capsys.readouterr().out
    assert "Show one with" not in quiet
    assert "transdodnet.phantom" in quiet
    assert run_verb("models", target, ["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["name"] == "transdodnet.phantom"


def test_a_closed_pipe_is_silent():
    shell = f"'{sys.executable}' -m mots_pretrained models | true"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""


def test_interrupting_says_so_and_leaves_with_130():
    code = (
        "import signal, sys, time; from mots_pretrained.cli.frame import guarded;"
        # a shell that starts tests in the background has them ignore the signal
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "sys.exit(guarded(lambda words: print('on', flush=True) or time.sleep(60), []))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.1)  # so that the signal meets the sleep, not the print before it
        os.kill(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told == "interrupted\n"
