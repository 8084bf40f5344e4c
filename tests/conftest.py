"""What all tests stand on: checked shapes, one thread, fixed seeds, no network, shared data."""

from __future__ import annotations

import os

# Before torch and huggingface_hub are imported: they read these once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import gc
import random
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
from jaxtyping import install_import_hook

# Where signatures carry shapes, tests enforce them.
_CHECKED = ("adaptation", "methods", "model", "networks")
install_import_hook([f"mots_pretrained.{package}" for package in _CHECKED], "typechecking.checked")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:  # tests of files and commands do without
        sys.modules["torch"].set_num_threads(1)
        sys.modules["torch"].manual_seed(0)


_kept = 0  # modules that are out of the garbage collector's sight


@pytest.fixture(autouse=True, scope="module")
def _libraries_are_kept() -> None:
    """Spare the garbage collector what imported libraries hold.

    A training ends with a full collection, which takes a second where all libraries are loaded.
    """
    global _kept
    if len(sys.modules) - _kept > 100:
        gc.collect()
        gc.freeze()
        _kept = len(sys.modules)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test reach no address but the machine's own."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            _refuse(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def _refuse(address: object) -> NoReturn:
    raise OSError(f"a test tried to reach {address}; tests run without network")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real scans for tests, named by MOTS_SHARED; tests without it are skipped."""
    folder = os.environ.get("MOTS_SHARED")
    if not folder:
        pytest.skip("MOTS_SHARED is not set: no real scans here")
    if not Path(folder).is_dir():
        pytest.skip(f"MOTS_SHARED={folder} is no folder")
    return Path(folder)
