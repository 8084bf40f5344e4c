"""Forty of the corpus's inputs through the real command line: right, or one line and status 2."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from corpus.niftis import MEMBER, content, header
from corpus.texts import BOMB
from small_networks import small

from mots_pretrained.networks import build

SECONDS = 60  # a verb starts in a few

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sound scan, label map and model, and odd files of every kind."""
    root = tmp_path_factory.mktemp("cli")
    build(small()).save_pretrained(root / "net")
    scan = np.random.default_rng(0).integers(-1000, 1000, (12, 12, 10)).astype(np.int16)
    for name in ("scan", "a b", "-dash", "größe", "x\ny", "[red]a", "$x", "a\udcffb"):
        nib.save(nib.Nifti1Image(scan, np.eye(4)), root / "tmp.nii.gz")
        (root / "tmp.nii.gz").rename(root / f"{name}.nii.gz")
    nib.save(nib.Nifti1Image((scan > 0).astype(np.uint8), np.eye(4)), root / "label.nii.gz")
    sound = content(header())
    made = header()
    made["dim"][1:4] = 1290
    (root / "bomb.nii.gz").write_bytes(
        gzip.compress(content(made)) + gzip.compress(bytes(MEMBER)) * 96
    )
    (root / "cut.nii.gz").write_bytes(gzip.compress(sound)[:-9])
    (root / "huge.nii").write_bytes(_with("dim", [3, 32767, 32767, 32767, 1, 1, 1, 1]))
    (root / "nan.nii").write_bytes(_with("pixdim", [1, np.nan, 1, 1, 1, 1, 1, 1]))
    (root / "axes.nii").write_bytes(_with("dim", [99, 4, 5, 6, 1, 1, 1, 1]))
    (root / "units.nii").write_bytes(_with("xyzt_units", 7))
    (root / "form.nii").write_bytes(_with("sform_code", 99))
    (root / "empty.nii.gz").write_bytes(b"")
    (root / "text.nii").write_bytes(b"a,b\n")
    (root / "crash.mha").write_text("ObjectType = Image\nNDims = 99999\nElementDataFile = LOCAL\n")
    (root / "out.mhd").write_text("ObjectType = Image\nNDims = 3\nElementDataFile = ../../x\n")
    for name, text in (
        ("bomb.yaml", BOMB),
        ("deep.yaml", "[" * 20_000),
        ("object.yaml", "!!python/object/apply:os.system ['touch ran']"),
        ("wrong.yaml", "steps: many"),
        ("latin.json", "{'größe': 1}"),
        ("deep.json", "[" * 100_000),
        ("long.json", '{"liver": ' + "9" * 10_000 + "}"),
    ):
        (root / name).write_text(text, "latin-1")
    for name, text in (
        ("deep", "[" * 100_000),
        ("names", '{"labels": {"": 0}}'),
        ("lost", json.dumps({"labels": {"a": 1}, "training": [{"image": "x" * 5000}]})),
    ):
        (root / f"data_{name}").mkdir()
        (root / f"data_{name}" / "dataset.json").write_text(text)
    for name, file, text in (
        ("config", "config.json", "{}"),
        ("weights", "model.safetensors", "x" * 100),
        ("number", "config.json", '{"format_version": ' + "9" * 5000 + "}"),
    ):
        build(small()).save_pretrained(root / f"net_{name}")
        (root / f"net_{name}" / file).write_text(text)
    build(small()).save_pretrained(root / "net_link")
    (root / "net_link" / "README.md").unlink()
    (root / "net_link" / "README.md").symlink_to("/etc/passwd")
    return root


def _with(field: str, value: object) -> bytes:
    made = header()
    made[field] = value
    return made.binaryblock + bytes(4 + 240)


PREDICT = ("predict", "-o", "OUT", "--tasks", "liver", "--device", "cpu", "--no-picture")
LABELS = "label.nii.gz"
CASES: list[tuple[int, tuple[str, ...]]] = [
    *(
        (0, (*PREDICT, "-m", "net", "-i", f"./{name}.nii.gz"))
        for name in ("scan", "a b", "-dash", "größe", "x\ny", "[red]a", "$x", "a\udcffb")
    ),
    (0, (*PREDICT, "-m", "net", "--input=-dash.nii.gz")),
    *(
        (2, (*PREDICT, "-m", "net", "-i", name))
        for name in (
            *("bomb.nii.gz", "cut.nii.gz", "huge.nii", "nan.nii", "axes.nii", "units.nii"),
            *("form.nii", "empty.nii.gz", "text.nii", "crash.mha", "out.mhd", "none\x1b[2J.nii"),
        )
    ),
    *(
        (2, (*PREDICT, "-m", f"net_{name}", "-i", "scan.nii.gz"))
        for name in ("config", "weights", "number", "link")
    ),
    *(
        (2, ("pretrain", "-o", "OUT", "--recipe", f"{name}.yaml"))
        for name in ("bomb", "deep", "object", "wrong")
    ),
    (2, ("pretrain", "-o", "OUT", "--set", "steps=1e400")),
    *((2, ("finetune", "-i", f"data_{name}", "-o", "OUT")) for name in ("deep", "names", "lost")),
    *(
        (
            2,
            (
                "evaluate",
                "-i",
                "label.nii.gz",
                "--truth",
                "label.nii.gz",
                "--labels",
                f"{name}.json",
            ),
        )
        for name in ("latin", "deep", "long")
    ),
    (2, ("prepare", "-o", "OUT", "--collection", "bomb.yaml")),
    (2, ("prepare", "-o", "OUT", "--collection", "object.yaml")),
    (2, ("push", "net_link", "-o", "OUT")),
    (2, ("convert", "-i", "text.nii", "-o", "OUT")),
    (2, ("verify", "net_weights")),
    (2, ("export", "net_config", "-o", "OUT")),
]


def test_there_are_forty():
    assert len(CASES) >= 40


@pytest.mark.parametrize("number", range(len(CASES)))
def test_it_is_right_or_one_plain_line(number, root, tmp_path):
    status, words = CASES[number]
    words = tuple(str(tmp_path / "out") if word == "OUT" else word for word in words)
    done = subprocess.run(
        [sys.executable, "-m", "mots_pretrained", *words],
        cwd=root, capture_output=True, timeout=SECONDS, check=False,
        preexec_fn=_bounded,
    )  # fmt: skip
    said = done.stderr.decode("utf-8", "replace")
    assert done.returncode == status, said
    assert "Traceback" not in said
    assert "\x1b" not in said
    assert not (root / "ran").exists()
    if status == 2:
        errors = [line for line in said.splitlines() if not line.startswith("warning: ")]
        assert len(errors) == 1, said
        assert re.match(r"error: .{10,2000}$", errors[0]), said
        assert "(see: mots " not in said  # it is the input that is refused, not an option
    else:
        assert len([*(tmp_path / "out").glob("*_seg.nii.gz")]) == 1


def _bounded() -> None:
    import resource

    limit = 6 << 30  # torch alone takes some of it
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
