"""Names of files, folders and classes that break paths, terminals, pictures and tables."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from corpus.entries import Entry, require
from rich.console import Console
from small_networks import SIZE, small

from mots_pretrained.cli import console
from mots_pretrained.data.layouts import find_bare, find_labelled
from mots_pretrained.data.store import case_folder
from mots_pretrained.errors import printable
from mots_pretrained.evaluation.files import score_files
from mots_pretrained.files import file_names
from mots_pretrained.images.scan_files import is_named_label_map
from mots_pretrained.inference.cohort import find_scans, segment_scans, write_results
from mots_pretrained.inference.failures import FAILURES
from mots_pretrained.inference.predictor import Predictor
from mots_pretrained.networks import build

NAMES = (
    *("a b", " a", "a ", "a.b.c", "a.nii", "..a", "-a", "--help", "-", "~", "a'b", 'a"b', "a;b"),
    *("a$b", "$\\frac{a$", "$x$", "a\\b", "[red]a", "a[b]", "a{b}", "%s", "a%20b", "a&b<i>", "#a"),
    *("a\nb", "a\tb", "a\rb", "\x1b[2J\x1b]0;x\x07", "\x7f", "a\u202eb", "a\u200bb", "\ufeffa"),
    *("größe", "große", "スキャン", "Скан", "🙂", "e\u0301", "\u00e9", "ﬁ", "İ", "ß"),
    *("a\udc80b", "\udcff", "CON", "nul", "a" * 200, "ü" * 100, "a_0000", "a_0001", "case:1"),
    *("a*b", "a?b", "a|b", "=1+1", "@a", "a,b", "labels", "failures", "None", "0", "1e5"),
)


def entries(folder: Path) -> Iterator[Entry]:
    torch.manual_seed(0)
    predictor = Predictor(build(small(preprocessing=_contract())).eval(), device="cpu")
    scan = np.random.default_rng(0).integers(-1000, 1000, (6, 8, 8)).astype(np.int16)
    for number, name in enumerate(NAMES):
        home = folder / str(number)
        for part in ("images", "labels", "scans"):
            (home / part).mkdir(parents=True)
            file = home / part / f"{name}.nii.gz"
            image = nib.Nifti1Image(
                scan if part != "labels" else (scan > 0).astype(np.uint8), np.eye(4)
            )
            nib.save(image, home / "x.nii.gz")
            os.replace(home / "x.nii.gz", file)

        def predict(home: Path = home, name: str = name) -> None:
            _predict(home, name, predictor)

        def read(home: Path = home, name: str = name) -> None:
            _read(home, name)

        def show(name: str = name) -> None:
            _show(name)

        yield Entry("file name, predicted", repr(name)[:40], predict, "right")
        is_scan = not is_named_label_map(file)  # "labels" alone is no scan without labels
        yield Entry("file name, read", repr(name)[:40], read, "right" if is_scan else "refused")
        yield Entry("name, shown", repr(name)[:40], show, "right")


def _contract() -> Any:
    from mots_pretrained.config import Preprocessing

    return Preprocessing(spacing=(1.0, 1.0, 1.0), patch=SIZE, window=SIZE)


def _predict(home: Path, scan: str, predictor: Predictor) -> None:
    """Predict a folder in which one scan fails; every file lies in the output."""
    out = home / "out"
    (home / "scans" / "broken.nii.gz").write_bytes(b"x")
    before = {*home.rglob("*")}
    hidden = any(path.name.startswith(".") for path in (home / "scans").iterdir())
    for _ in range(2 if any(not c.isprintable() for c in scan) else 1):
        scans = find_scans([home / "scans"], 1)
        reports, failures = segment_scans(
            predictor,
            scans,
            lambda found, one: write_results(found, out, files=one.images, model=found.volume.name),
            output=out,
        )
        require(len(reports) == 1 - hidden, f"the scan failed: {failures}")
        require(hidden or Path(reports[0]["segmentation"]).is_file(), "no label map")
        rows = (out / FAILURES).read_text("utf-8").splitlines()
        require(len(rows) == 2, "failures.csv lists other than the one that failed")
        json.dumps(reports).encode()
    made = {*home.rglob("*")} - before
    require(all(path.is_relative_to(out) for path in made), "a file outside of the output folder")


def _read(home: Path, name: str) -> None:
    """Find the case in folders of pairs and of bare scans, and score its label map."""
    if name.startswith("."):
        return  # such files are hidden
    cases = find_labelled(home).cases
    require(len(cases) == 1 and cases[0].label is not None, "the pair was not found")
    require(len(find_bare(home / "images").cases) >= 1, "the scan was not found")
    score_files(home / "labels", home / "labels")
    place = case_folder(home, cases[0].name)
    require(place.parent == home / "cases", "a case outside of its folder")
    place.mkdir(parents=True)
    for one in file_names([name, f"{name}/{name}"]).values():
        require("/" not in one and "\\" not in one and one not in (".", ".."), "a path")
        (home / one).touch()


def _show(name: str) -> None:
    """Print a name as a result, a warning and in a progress bar; nothing steers the terminal."""
    from rich.progress import Progress

    text = StringIO()
    with Progress(console=Console(file=text, force_terminal=True, width=300)) as bar:
        bar.add_task(console.in_bar(name), total=3)
    shown = text.getvalue()
    require("\x1b[2J" not in shown and "\x1b]" not in shown, "a progress bar steers the terminal")
    require(printable(" ".join(name.split()))[:20] in shown, "a progress bar drops the name")
    line = printable(name)
    require(all(c.isprintable() or c in "\n\t" for c in line), "printed as it is")
    line.encode("utf-8")
