"""What is installed here and whether it works: versions, extras, devices, caches, a self-test."""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path
from typing import Any

from mots_pretrained import __version__

MODEL = "transdodnet.phantom"
"""The shipped model whose fingerprint the self-test computes."""

_FOR_WORKING_ON_IT = ("test", "lint", "docs")


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        part: ``"package"``, ``"extra"``, ``"device"``, ``"cache"`` or ``"self-test"``.
        name: What.
        works: Whether it does; None of what is optional and not there.
        told: A version, a place, a time or the fault, in a few words.
    """

    part: str
    name: str
    works: bool | None
    told: str


def examine(*, self_test: bool = True) -> list[Check]:
    """Look at everything; nothing that fails is raised.

    Args:
        self_test: Also run a network, which takes some seconds.
    """
    found = [Check("package", "mots_pretrained", True, __version__)]
    found.append(Check("package", "python", True, f"{platform.python_version()} {sys.executable}"))
    needed, extras = _requirements()
    found += [_package("package", name, needed=True) for name in needed]
    for extra, names in extras.items():
        checks = [_package("extra", name, needed=False) for name in names]
        works = None if any(c.works is None for c in checks) else all(c.works for c in checks)
        told = ", ".join(f"{check.name} {check.told}" for check in checks)
        hint = "" if works is not None else f"; pip install 'mots_pretrained[{extra}]'"
        found.append(Check("extra", extra, works, f"{told}{hint}"))
    found += [*_devices(), *_caches()]
    if self_test:
        found += [_timed("tiny network", _tiny_network), _timed(MODEL, _shipped_model)]
    return found


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Return the packages that this one needs, and those of each extra that users install."""
    needed: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in requires("mots_pretrained") or []:
        name = re.split(r"[\s\[<>=!~;(]", line, maxsplit=1)[0]
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        if extra is None:
            needed.append(name)
        elif extra[1] not in _FOR_WORKING_ON_IT and name != "mots_pretrained":
            extras.setdefault(extra[1], []).append(name)
    return needed, extras


def _package(part: str, name: str, *, needed: bool) -> Check:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Check(part, name, False if needed else None, "not installed")
    try:
        importlib.import_module(_module_of(name))
    except Exception as error:  # whatever a broken installation raises
        return Check(part, name, False, f"{found} does not import: {_line(error)}")
    return Check(part, name, True, found)


def _module_of(package: str) -> str:
    """Return what a package is imported as: its own name, or else what it has installed."""
    found = _modules().get(re.sub(r"[-_.]+", "-", package).lower(), [])
    own = package.replace("-", "_")
    return own if own in found or not found else min(found, key=lambda name: (name[0] == "_", name))


@cache
def _modules() -> dict[str, list[str]]:
    """Return what each installed package is imported as, by its plain name."""
    found: dict[str, list[str]] = {}
    for module, names in packages_distributions().items():
        for name in names:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), []).append(module)
    return found


def _devices() -> list[Check]:
    import torch

    from mots_pretrained.inference.precision import choose_precision
    from mots_pretrained.model.deformable_attention import has_kernels

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    auto = choose_precision("auto", torch.device("cpu"))
    told = f"{cores} cores, {torch.get_num_threads()} threads, precision auto is {auto}"
    found = [Check("device", "cpu", True, told)]
    if not torch.cuda.is_available():
        return [*found, Check("device", "cuda", None, "not there")]
    for number in range(torch.cuda.device_count()):
        name, told = f"cuda:{number}", ""
        try:
            facts = torch.cuda.get_device_properties(number)
            auto = choose_precision("auto", torch.device(name))
            told = f"{facts.name}, {facts.total_memory >> 20} MB, precision auto is {auto}"
            works = float(torch.ones(2, device=name).sum()) == 2
            kernels = "run" if has_kernels(torch.device(name)) else "don't run"
            told += f", Triton's kernels {kernels}"
        except Exception as error:
            works, told = False, f"{told} {_line(error)}"
        found.append(Check("device", name, works, told))
    return found


def _caches() -> list[Check]:
    from mots_pretrained.weights.download import hub_cache

    places = {"hub": hub_cache(), "temporary files": Path(tempfile.gettempdir())}
    return [_writable(name, path) for name, path in places.items()]


def _writable(name: str, path: Path) -> Check:
    """Try to write into a folder, or into the nearest that is there above it."""
    place = next(one for one in (path, *path.parents) if one.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=place):
            return Check("cache", name, True, f"{path}")
    except OSError as error:
        return Check("cache", name, False, f"{path}: {_line(error)}")


def _timed(name: str, work: Callable[[], str]) -> Check:
    start = time.monotonic()
    try:
        told = work()
    except Exception as error:
        return Check("self-test", name, False, _line(error))
    return Check("self-test", name, True, f"{told} in {time.monotonic() - start:.1f} s")


def _tiny_network() -> str:
    """Segment a tiny phantom with a tiny network of random weights."""
    import dataclasses

    import torch

    from mots_pretrained.config import EncoderConfig, ModelConfig, Preprocessing
    from mots_pretrained.images.volume import Volume
    from mots_pretrained.inference.predictor import Predictor
    from mots_pretrained.networks import build
    from mots_pretrained.weights.fingerprint import SIZE, bundled_input

    contract = Preprocessing(spacing=(6.0, 4.0, 4.0), patch=SIZE, window=SIZE)
    config = ModelConfig(
        encoder=EncoderConfig(depth=10, stem_width=4, widths=(4, 6, 8, 10)),
        preprocessing=contract,
    )
    config = dataclasses.replace(config, transformer=None, architecture="dodnet")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(config).eval()
    scan = (bundled_input(1)[0, 0] * 325).short().numpy()
    found = Predictor(network, device="cpu")(Volume.with_spacing(scan, contract.spacing))
    if found.labels.shape != scan.shape:
        raise RuntimeError(f"labels of shape {found.labels.shape} for a scan of {scan.shape}")
    return f"labels of {' x '.join(map(str, scan.shape))} voxels"


def _shipped_model() -> str:
    from mots_pretrained.publishing import verify
    from mots_pretrained.weights.download import resolve

    found = verify(resolve(MODEL))
    if not found.sound:
        raise RuntimeError(f"its logits deviate by {found.deviations}")
    return f"logits within {found.deviations['float32']:.1e} of the stored ones"


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()):.200}"


def as_json(checks: list[Check]) -> dict[str, Any]:
    """Return the checks as plain values, with ``works`` for all that are needed together."""
    return {
        "works": all(check.works is not False for check in checks),
        "checks": [vars(check) for check in checks],
    }
