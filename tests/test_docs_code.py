"""The Python of every page runs, from top to bottom, beside the files and names that it uses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prepared_folder import write_prepared
from test_docs import PAGES, ROOT

import mots_pretrained as mots
from mots_pretrained.adaptation.fit_head import fit_head
from mots_pretrained.batch import Batch
from mots_pretrained.config import Preprocessing
from mots_pretrained.data.case import Case
from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.table import to_lines, write_lines
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.phantom import torso

NEEDS = re.compile(r"# needs (the network|a GPU)\b")
"""How a block begins that cannot run in tests."""

SPACING = (4.0, 3.0, 3.0)
IMAGE = torch.zeros(1, 1, 32, 64, 64)


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


WITH_CODE = [page for page in PAGES if blocks(page)]


def test_few_blocks_are_left_out_and_those_name_what_they_need():
    left_out = [(p.name, b) for p in WITH_CODE for b in blocks(p) if NEEDS.match(b)]
    assert [name for name, _ in left_out] == ["finetune.md", "hub.md", "hub.md"]
    for _, block in left_out:
        assert ("org/" in block) == block.startswith("# needs the network")


@pytest.mark.long
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("adaptation.fit_head", "training.add_organs"):
        monkeypatch.setattr(f"mots_pretrained.{place}.fit_head", quick_fit)
    write_scans(tmp_path)
    name = page.name if page.parent in (ROOT, ROOT / "docs") else ""
    names = LAID_OUT.get(name, lambda folder: {})(tmp_path)
    for block in blocks(page):
        if not NEEDS.match(block):
            exec(block.replace("path/to/checkout", str(ROOT)), names)
    if name in ("README.md", "index.md"):
        assert (tmp_path / "ct_seg.nii.gz").exists()
    for value, shape in SHAPES.get(name, {}).items():
        assert tuple(names[value].shape)[-len(shape) :] == shape


def quick_fit(*given, **options):
    """Fit a head in five steps: how well it then finds is another test's matter."""
    return fit_head(*given, **{**options, "steps": 5})


SHAPES = {
    "README.md": {"logits": (1, 14, 32, 64, 64), "features": (32, 32, 32)},
    "methods.md": {"masks": (1, 1, 2, 32, 64, 64)},
    "prepare.md": {"image": (1, 64, 192, 192)},
    "hub.md": {"image": (1, 32, 64, 64)},
}
"""Last axes of what some names are at the end of a page."""


def write_scans(folder: Path) -> None:
    """A phantom as ct.nii.gz, and two folders of labelled ones as TotalSegmentator has them."""
    for number in range(2):
        phantom = torso(number, shape=(32, 64, 64), spacing=SPACING)
        scan = Volume.with_spacing(np.rint(phantom.image), SPACING)
        mask = np.zeros(scan.shape, np.uint8)
        mask[10:20, 20:40, 20:40] = 1
        for place in ("aortas", "DATA"):
            case = folder / place / f"case_{number}"
            (case / "segmentations").mkdir(parents=True)
            write_like(case / "ct.nii.gz", scan.array, scan, dtype="int16")
            write_like(case / "segmentations" / "aorta.nii.gz", mask, scan)
    write_like(folder / "ct.nii.gz", scan.array, scan, dtype="int16")


def _image(folder: Path) -> dict[str, Any]:
    return {"image": IMAGE}


def _adaptation(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    target = np.zeros((1, 48, 96, 96), np.uint8)
    target[:, 10:30, 20:60, 20:60] = 1
    case = Case(rng.normal(size=(1, 48, 96, 96)).astype(np.float32), target, name="one")
    net = mots.add_organs("transdodnet.phantom", [case], classes=["gallbladder"])
    net.save_organs(folder / "gallbladder.safetensors")
    same = mots.Segmenter.from_pretrained("transdodnet.phantom", classes=["aorta"], head="levels")
    return {"cases": [case], "same_model": same}


def _evaluate(folder: Path) -> dict[str, Any]:
    lines = []
    for shift, row in enumerate(("TransDoDNet", "DoDNet")):
        results = Results(("liver",))
        for case in range(4):
            results.add(f"case {case}", {"liver": {"dice": 0.8 + 0.02 * case - 0.1 * shift}})
        lines += to_lines(results, table="table09", row=row)
    write_lines(folder / "table09.csv", lines)
    return {}


def _hub(folder: Path) -> dict[str, Any]:
    from published_fixture import stored

    torch.save({"state_dict": stored("T2").weights}, folder / "checkpoint.pth")
    return {}


def _methods(folder: Path) -> dict[str, Any]:
    target = torch.zeros(1, 2, 32, 64, 64, dtype=torch.uint8)
    labelled = torch.tensor([[True, True]])
    return {"image": IMAGE, "batch": Batch(IMAGE, target, labelled, torch.tensor([0]))}


def _prepare(folder: Path) -> dict[str, Any]:
    write_prepared(folder / "PREPARED", Preprocessing(), {"liver": 3})
    return {}


LAID_OUT = {
    "README.md": _image,
    "adaptation.md": _adaptation,
    "evaluate.md": _evaluate,
    "hub.md": _hub,
    "methods.md": _methods,
    "prepare.md": _prepare,
}
"""By page, the files beside which it runs, and the names that it takes for granted."""
