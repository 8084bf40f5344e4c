"""Benchmarks' modules, imported as their scripts import each other."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

import pytest
from benchmark_runs import BENCHMARKS


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a benchmark's module by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def script(bench: Callable[[str], ModuleType], request: pytest.FixtureRequest) -> ModuleType:
    """The module that the file of tests is named after."""
    return bench(request.path.stem.removeprefix("test_"))
