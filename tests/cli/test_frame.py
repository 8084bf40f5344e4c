"""The frame of the command line, in real processes: exit status, single lines, nothing slow."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from importlib import import_module

import numpy as np
import pytest
import torch

from mots_pretrained.cli import VERBS, main
from mots_pretrained.cli.frame import guarded, run_verb
from mots_pretrained.errors import MissingFileError, UnknownNameError, UserError
from mots_pretrained.files import write_json

FULL = "failed: OSError: No space left on device"


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
        (["models", "a", "b"], "an action: download, search, verify, overlap"),
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


OURS = (
    "(a fault of mots_pretrained, not of what you gave it; run again with -v for the traceback)\n"
)
THEIRS = "(run again with -v for the traceback)\n"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("spacing is 0;\n  give  more"), 2, "error: spacing is 0; give more\n"),
        (UnknownNameError("unknown task 'x'"), 2, "error: unknown task 'x'\n"),
        (MissingFileError("no folder b"), 2, "error: no folder b\n"),
        (UserError("no scan \x1b[2Ja.nii"), 2, "error: no scan \\x1b[2Ja.nii\n"),
        (UserError(), 2, "error: UserError\n"),
        (PermissionError(13, "Denied", "/data/a.nii"), 2, "error: Denied: /data/a.nii\n"),
        (ValueError("shapes differ"), 1, f"failed: ValueError: shapes differ {OURS}"),
        (KeyError("x"), 1, f"failed: KeyError: 'x' {OURS}"),
        (FileNotFoundError(2, "No such file", "/lib/x"), 1, "failed: FileNotFoundError: No such"),
        (RuntimeError("no luck"), 1, f"failed: RuntimeError: no luck {OURS}"),
        (OSError(28, "No space left on device", "/f"), 1, f"{FULL}: /f {THEIRS}"),
        (MemoryError(), 1, f"failed: MemoryError {THEIRS}"),
        (torch.OutOfMemoryError("CUDA"), 1, f"failed: OutOfMemoryError: CUDA {THEIRS}"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_errors_become_one_line_and_a_status(error, status, line, capsys):
    assert guarded(raising(error), ["verb", "-i", "/data/a.nii"]) == status
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(line)
    assert told.err.count("\n") == 1


def test_an_error_of_numpy_is_our_fault(capsys):
    """Faults of the program are no faults of the input, whatever their class."""
    work = lambda words: int((np.zeros(3) + np.zeros(4)).sum())  # noqa: E731
    assert guarded(work, ["predict", "-i", "a.nii"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("failed: ValueError: operands could not be broadcast")
    assert told.endswith(OURS)


@pytest.mark.parametrize("form", [["-i", "{}"], ["--input={}"], ["-i{}"]])
@pytest.mark.parametrize("below", ["", "/sub/b.nii"])
def test_a_path_of_the_command_line_that_the_system_refuses_is_status_2(
    form, below, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = ["predict", *(word.format("a") for word in form)]
    work = lambda words: open(tmp_path / f"a{below}")  # noqa: E731, SIM115
    assert guarded(work, words) == 2
    told = capsys.readouterr().err
    assert told == f"error: No such file or directory: {tmp_path}/a{below}\n"
    assert guarded(work, ["predict", "-i", "other"]) == 1


def test_the_folder_above_an_output_is_the_users_too(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "deep" / "out"
    assert guarded(lambda words: output.mkdir(parents=True), ["-o", str(output)]) == 2
    assert capsys.readouterr().err.startswith("error: Not a directory: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is refused to root")
def test_what_may_not_be_written_is_status_2(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert guarded(lambda words: (tmp_path / "a").write_text(""), ["-o", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: Permission denied: {tmp_path}/a\n"


def test_a_full_disk_is_status_1_and_names_the_file(tmp_path, capsys, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "a.json"
    assert guarded(lambda words: write_json(path, {}), ["-o", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"{FULL}: {path} {THEIRS}"


def test_the_traceback_is_there_for_those_who_ask():
    code = (
        "import sys; from mots_pretrained.cli import models\n"
        "def broken(**options): raise RuntimeError('no luck')\n"
        "broken.__annotations__ = {}; broken.__signature__ = __import__('inspect').Signature()\n"
        "models.models = broken\n"
        "from mots_pretrained.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    for flags, shown in (([], False), (["-v"], True)):
        done = mots("models", *flags, code=code)
        assert done.returncode == 1
        assert ("Traceback" in done.stderr) == shown
        assert "failed: RuntimeError: no luck" in done.stderr


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


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "-i", "a.nii", "-o", "x", "--tasks", "liver", "--tasks=spleen"],
        ["evaluate", "-i", "a", "--truth", "b", "--metrics", "dice", "--metrics", "hd"],
        ["finetune", "-i", "a", "--input", "b", "-o", "c"],
    ],
)
def test_an_option_of_one_value_is_not_given_twice(words, capsys):
    """The first value was dropped without a word: only the spleen was segmented."""
    assert main(words) == 2
    told = capsys.readouterr().err
    assert re.search(r"error: --(tasks|metrics|input) is given 2 times and takes one value", told)


def test_flags_and_options_of_several_values_may_come_again(capsys):
    words = ["predict", "-i", "no.nii", "-i", "nor.nii", "-o", "x", "-q", "-q"]
    assert main(words) == 2
    assert "no such file: no.nii" in capsys.readouterr().err
