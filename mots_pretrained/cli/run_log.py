"""``run.log``: what a run was, how long its stages took and how it ended, as JSON lines."""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mots_pretrained import __version__
from mots_pretrained.cli import DONE, FAILED, INTERRUPTED, WRONG_INPUT, console
from mots_pretrained.cli.options import is_main
from mots_pretrained.files import RUN_LOG
from mots_pretrained.stages import LOGGER, peak_memory_mb

LOGGED = ("prepare", "pretrain", "finetune", "predict")
"""The verbs that leave a run.log in their output folder; ``predict`` does so over a folder."""

_TOGETHER = ("pretrain", "finetune")  # whose processes share an output; others' are on their own

PACKAGES = ("torch", "numpy", "scipy", "monai", "nibabel", "accelerate", "timm", "blosc2",
            "safetensors", "huggingface_hub", "batchgeneratorsv2")  # fmt: skip

_TOLD = re.compile(
    r"OMP_NUM_THREADS|MKL_NUM_THREADS|CUDA_VISIBLE_DEVICES|CUBLAS_WORKSPACE_CONFIG|HF_HUB_OFFLINE"
    r"|(LOCAL_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)"
    r"|SLURM_(JOB_ID|PROCID|NTASKS|STEP_NUM_TASKS|NNODES|LOCALID)|(PMI|OMPI_COMM_WORLD)_(RANK|SIZE)"
    r"|PYTHONHASHSEED|NCCL_[A-Z_]+|TORCH_[A-Z_]+"
)
"""The variables of the environment that are told; no other is, as they may hold secrets."""

_TOKEN = re.compile(r"\b(hf_|api_org_)\w{8,}")


class RunLog(logging.Handler):
    """Handler that appends to a folder's run.log once the work begins.

    Nothing is written before, so that a folder that a run refuses stays as it is; nor where there
    is no folder.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        super().__init__(logging.INFO)
        self.path, self.start, self.begun = folder / RUN_LOG, time.monotonic(), False
        self.waiting = [_line({"event": "start", **facts})]

    def emit(self, record: logging.LogRecord) -> None:
        """Write a finished stage or a warning, or keep it until the work begins."""
        facts = getattr(record, "facts", None)
        if facts is None:
            self.waiting.append(_line({"event": "warning", "text": record.getMessage()}))
        elif facts:
            self.waiting.append(_line({"event": "stage", **facts, "peak_mb": peak_memory_mb()}))
        else:
            self.begun = True
        if self.begun:
            self._write()

    def end(self, error: BaseException | None, status: int) -> None:
        """Write how the run has ended; a refusal only where something was told before."""
        facts: dict[str, Any] = {"event": "end", "status": status}
        facts["seconds"] = round(time.monotonic() - self.start, 2)
        facts["peak_mb"] = peak_memory_mb()
        if error is not None and status != DONE:
            facts["error"] = f"{type(error).__name__}: {error}"
            if status == FAILED and not isinstance(error, SystemExit):
                facts["traceback"] = "".join(traceback.format_exception(error))
        self.waiting.append(_line(facts))
        if self.begun or status != WRONG_INPUT:
            self._write()

    def _write(self) -> None:
        if not self.path.parent.is_dir():
            return
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write("".join(self.waiting))
        except OSError:  # a full disk, say: the work matters more than what is told of it
            return
        self.waiting = []


@contextmanager
def logged(verb: str, options: Mapping[str, Any], words: Sequence[str]) -> Iterator[None]:
    """Keep a run.log of what the block does, and show its stages with ``-v``."""
    level, handlers = LOGGER.level, [*LOGGER.handlers]
    log = None
    if _is_logged(verb, options):
        log = RunLog(Path(options["output"]), facts_of_run(verb, words))
        LOGGER.addHandler(log)
    if console.verbose():
        LOGGER.addHandler(_Shown(logging.INFO))
    if len(LOGGER.handlers) > len(handlers):
        LOGGER.setLevel(logging.INFO)
    ended: BaseException | None = None
    try:
        yield
    except BaseException as error:
        ended = error
        raise
    finally:
        if log is not None:
            log.end(ended, _status(ended, words))
        LOGGER.handlers[:] = handlers
        LOGGER.setLevel(level)


def facts_of_run(verb: str, words: Sequence[str]) -> dict[str, Any]:
    """Return what a report of a fault should say first: versions, machine, command, variables."""
    return {
        "command": ["mots", verb, *words],
        "folder": os.getcwd(),
        "mots_pretrained": __version__,
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := installed(name))},
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "memory_mb": _memory_mb(),
        "process": os.getpid(),
        "environment": {k: v for k, v in sorted(os.environ.items()) if _TOLD.fullmatch(k)},
    }


def installed(package: str) -> str | None:
    """Return the version of a package without importing it; None where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


class _Shown(logging.Handler):
    """Shows finished stages on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "facts", None):
            console.warn(record.getMessage())


def _is_logged(verb: str, options: Mapping[str, Any]) -> bool:
    if verb not in LOGGED or not options.get("output"):
        return False
    if verb in _TOGETHER and not is_main():
        return False
    if options.get("submission"):  # its folder holds what is handed in, and no more
        return False
    given = options.get("scan")
    return given is None or any(os.path.isdir(path) for path in given)


def _line(facts: Mapping[str, Any]) -> str:
    told = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **facts}
    return without_secrets(json.dumps(told, default=str)) + "\n"


def without_secrets(text: str) -> str:
    """Return a text without tokens of the Hub, neither those in the environment nor others."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name):
            text = text.replace(os.environ[name], "***")
    return _TOKEN.sub(r"\1***", text)


def _status(error: BaseException | None, words: Sequence[str]) -> int:
    from mots_pretrained.cli.frame import is_mendable

    if error is None:
        return DONE
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, Exception) and is_mendable(error, list(words)):
        return WRONG_INPUT
    code = getattr(error, "exit_code", FAILED)  # typer.Exit's
    return code if isinstance(code, int) else FAILED


def _memory_mb() -> int | None:
    if not hasattr(os, "sysconf") or sys.platform == "win32":
        return None
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) >> 20
