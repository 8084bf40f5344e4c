"""``mots predict``: the files that it leaves, and one plain line with status 2 for bad input."""

from __future__ import annotations

import dataclasses
import gzip
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scans_to_predict import CONFIG, ct, save
from torch import Tensor, nn

import mots_pretrained as mots
from mots_pretrained import networks
from mots_pretrained.cli import main
from mots_pretrained.config import ModelConfig
from mots_pretrained.report import overlay


class Tiny(nn.Module):
    """A network that is all noise, so that each option shows."""

    def __init__(self) -> None:
        super().__init__()
        self.config = ModelConfig(
            preprocessing=dataclasses.replace(CONFIG.preprocessing, window=(8, 8, 8))
        )
        self.body = nn.Sequential(nn.Conv3d(1, 14, 3, padding=1), nn.InstanceNorm3d(14))

    def forward(self, image: Tensor, tasks: list[str]) -> Tensor:
        names = [task.name for task in self.config.tasks]
        return self.body(image).unflatten(1, (7, 2))[:, [names.index(task) for task in tasks]]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a network that costs nothing."""
    monkeypatch.setattr(networks, "load", lambda name, add=(): Tiny())
    return "tiny"


def test_a_scan_gives_label_map_volumes_and_picture(tmp_path: Path, model: str, capsys) -> None:
    scan, out = save(tmp_path / "ct.nii.gz", ct()), tmp_path / "new" / "out"
    assert main(["predict", "-i", str(scan), "-o", str(out), "-m", model, "--masks"]) == 0
    assert {x.name for x in out.iterdir()} == {
        "ct_seg.nii.gz",
        "ct_overlay.png",
        "ct_masks",
        "ct_volumes.json",
        "labels.ctbl",
        "labels.json",
        "labels_itksnap.txt",
    }
    source, result = nib.load(scan), nib.load(out / "ct_seg.nii.gz")
    assert result.get_data_dtype() == np.uint8
    assert result.shape == source.shape
    np.testing.assert_array_equal(result.affine, source.affine)
    for name in ("sform_code", "qform_code"):
        assert result.header[name] == source.header[name]
    labels = np.asarray(result.dataobj)
    report = json.loads((out / "ct_volumes.json").read_text())
    assert report["labels"]["lung_tumour"] == 10
    assert report["labels"]["liver"] == [1, 2, 5, 6]
    assert json.loads((out / "labels.json").read_text()) == report["labels"]
    for name, values in report["labels"].items():
        voxels = np.isin(labels, values).sum()
        assert report["volumes_ml"][name] == pytest.approx(voxels * 0.025)
        mask = np.asarray(nib.load(out / "ct_masks" / f"{name}.nii.gz").dataobj)
        assert set(np.unique(mask)) <= {0, 1}
        assert report["mask_volumes_ml"][name] == pytest.approx(mask.sum() * 0.025)
    assert len(np.unique(labels)) > 5
    shown = capsys.readouterr().out
    assert str(out / "ct_seg.nii.gz") in shown
    assert report["model"] == model
    cut = [d["category"] for d in report["doubts"] if d["kind"] == "cut"]
    assert f"note: cut by the scan's border: {', '.join(cut)}\n" in shown


def test_label_maps_are_named_as_nnunet_does_and_lie_over_no_scan(
    tmp_path: Path, model: str, capsys
) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for name in ("a", "b"):
        save(scans / f"{name}_0000.nii.gz", ct())
    words = ["predict", "-i", str(scans), "-m", model, "--no-picture", "--naming", "nnunet", "-o"]
    assert main([*words, str(out)]) == 0
    assert {path.name for path in out.glob("*.nii.gz")} == {"a.nii.gz", "b.nii.gz"}
    assert main([*words, str(out), "--skip-existing"]) == 0
    before = (scans / "a_0000.nii.gz").read_bytes()
    words[2] = str(scans / "a_0000.nii.gz")
    capsys.readouterr()
    assert main([*words, str(scans)]) == 2
    assert "would lie over them" in capsys.readouterr().err
    assert (scans / "a_0000.nii.gz").read_bytes() == before


def test_a_label_map_beside_the_scan_is_not_written_over(tmp_path: Path, model: str, capsys):
    """The truth, which is often called NAME_seg, was replaced by the prediction."""
    save(tmp_path / "a.nii.gz", ct())
    truth = tmp_path / "a_seg.nii.gz"
    truth.write_bytes(b"the truth")
    words = ["predict", "-i", str(tmp_path / "a.nii.gz"), "-o", str(tmp_path), "-m", model]
    assert main([*words, "--no-picture"]) == 2
    assert "a_seg.nii.gz lies beside the scan and was not written by" in capsys.readouterr().err
    assert truth.read_bytes() == b"the truth"
    truth.unlink()
    assert main([*words, "--no-picture"]) == main([*words, "--no-picture"]) == 0
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "b.nii.gz"
    link.symlink_to(tmp_path / "a.nii.gz")
    for more in (["--naming", "nnunet"], ["--submission", "brats"]):
        given = ["predict", "-i", str(link), "-o", str(link.parent), "-m", model, *more]
        assert main(given) == 2
        assert "would lie over them" in capsys.readouterr().err


def test_a_folder_gives_each_scan_its_own_and_leaves_out_the_bad(
    tmp_path: Path, model: str, capsys
) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    save(scans / "a.nii.gz", ct())
    (scans / "b.nii.gz").touch()
    save(scans / "c.nii", ct(seed=1))
    (scans / "notes.txt").write_text("no scan")
    words = ["predict", "-i", str(scans), "-o", str(out), "-m", model, "--tasks", "liver,spleen"]
    assert main([*words, "--json"]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("1 of 3 scans failed, the first with: ")
    assert shown.err.count("\n") == 1
    assert {x.name for x in out.iterdir()} - {"run.log", ".lock"} == {
        *(f"{x}_{what}" for x in "ac" for what in ("seg.nii.gz", "overlay.png", "volumes.json")),
        "labels.ctbl",
        "labels.json",
        "labels_itksnap.txt",
        "failures.csv",
        "cohort.csv",
    }
    told = json.loads(shown.out)
    assert [scan["scan"] for scan in told["scans"]] == ["a", "c"]
    values = {"liver": [1, 2, 5, 6], "liver_tumour": 2, "spleen": 11}
    assert {n: told["scans"][0]["labels"][n] for n in values} == values
    (failed,) = told["failures"]
    assert (failed["file"], failed["kind"]) == ("b.nii.gz", "UserError")
    assert "b.nii.gz is empty (0 bytes)" in failed["reason"]
    assert json.loads((out / "a_volumes.json").read_text())["scan"] == "a"


def test_runs_into_one_folder_add_to_it_and_other_labels_are_refused(
    tmp_path: Path, model: str, capsys
) -> None:
    out = tmp_path / "out"
    for name in ("a", "b"):
        scan = save(tmp_path / f"{name}.nii.gz", ct())
        assert main(["predict", "-i", str(scan), "-o", str(out), "-m", model, "-q"]) == 0
    for name in ("a", "b"):
        assert json.loads((out / f"{name}_volumes.json").read_text())["scan"] == name
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    capsys.readouterr()
    words = ["predict", "-i", str(scan), "-o", str(out), "-m", model, "--tasks", "spleen"]
    assert main(words) == 2
    assert "labels.json belongs to label maps of other values" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_options_reach_the_predictor(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "draw_overlay", lambda *args, **options: None)  # costs most
    scan = str(save(tmp_path / "ct.nii.gz", ct()))
    maps = []
    for options in (
        [], ["--flips"], ["--overlap", "0"], ["--postprocess"], ["--precision", "bfloat16"],
    ):  # fmt: skip
        out = tmp_path / f"out{len(maps)}"
        torch.manual_seed(0)
        assert main(["predict", "-i", scan, "-o", str(out), "-m", model, "-q", *options]) == 0
        maps.append(np.asarray(nib.load(out / "ct_seg.nii.gz").dataobj))
        told = json.loads((out / "ct_volumes.json").read_text())["precision"]
        assert told == ("bfloat16" if "bfloat16" in options else "float32")
    assert all((other != maps[0]).any() for other in maps[1:])
    capabilities = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    words = ["predict", "-i", scan, "-o", str(tmp_path / "same"), "-m", model, "-q"]
    for more, expected in (
        (["--max-ram", "9"], maps[0]),
        (["--precision", "float32"], maps[0]),
        (["--precision", "auto"], maps[-1]),
    ):
        torch.manual_seed(0)
        assert main([*words, *more]) == 0
        same = np.asarray(nib.load(tmp_path / "same" / "ct_seg.nii.gz").dataobj)
        np.testing.assert_array_equal(same, expected)
    told = json.loads((tmp_path / "same" / "ct_volumes.json").read_text())
    assert told["precision"] == "bfloat16"


def bad_scan(tmp_path: Path, kind: str) -> list[str]:
    """The words after ``-i`` for one fault."""
    path = tmp_path / "scan.nii.gz"
    if kind == "missing":
        return [str(path)]
    if kind == "empty":
        path.touch()
    elif kind == "truncated":
        save(path, ct())
        path.write_bytes(path.read_bytes()[:-300])
    elif kind == "2d":
        save(path, ct((24, 26)))
    elif kind == "rgb":
        save(path, np.zeros((9, 9, 9), [("R", "u1"), ("G", "u1"), ("B", "u1")]))
    elif kind == "4d":
        save(path, ct((9, 9, 9, 2)))
    elif kind == "two files":
        save(path, ct())
        return [str(path), "-i", str(path)]
    elif kind == "nan":
        array = ct().astype(np.float32)
        array[1, 1, :4] = np.nan
        save(path, array)
    elif kind in ("zero spacing", "negative spacing", "singular"):
        save(path, ct())
        raw = bytearray(gzip.decompress(path.read_bytes()))
        at, value = {
            "zero spacing": (80, [0]),
            "negative spacing": (84, [-2.5]),
            "singular": (280, [0, 0, 0, 0]),
        }[kind]
        raw[at : at + 4 * len(value)] = np.array(value, np.float32).tobytes()
        path.write_bytes(gzip.compress(bytes(raw)))
    elif kind == "empty folder":
        path = tmp_path / "folder"
        path.mkdir()
    elif kind == "not nifti":
        path = tmp_path / "scan.dcm"
        path.write_bytes(b"DICM")
    return [str(path)]


FAULTS = {
    "missing": "no such file",
    "empty": "is empty (0 bytes)",
    "truncated": "is truncated",
    "2d": "is 2D (24x26)",
    "rgb": "holds RGB colours",
    "4d": "has 2 channels, the model expects 1 channel (ct)",
    "two files": "has 2 channels, the model expects 1 channel (ct)",
    "nan": "4 of 8736 voxels are NaN or infinite",
    "zero spacing": "spacing 0 x 2.5 x 5 mm must be above zero",
    "negative spacing": "spacing 2 x -2.5 x 5 mm must be above zero",
    "singular": "the affine cannot be inverted",
    "empty folder": "holds no .nii or .nii.gz file",
    "not nifti": "only NIfTI, NRRD, MHA and DICOM are read",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_bad_scans(tmp_path: Path, model: str, kind: str, capsys) -> None:
    words = ["predict", "-i", *bad_scan(tmp_path, kind), "-o", str(tmp_path / "out"), "-m", model]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert FAULTS[kind] in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks", "heart"], "unknown task 'heart'; this model has: liver, kidney"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--overlap", "1"], "overlap must be at least 0 and below 1"),
        (["--batch", "0"], "batch must be at least 1"),
        (["--naming", "bids"], "unknown naming 'bids'; allowed are seg, nnunet"),
        (["--max-ram", "0"], "max_ram is in gigabytes and above 0, not 0"),
        (["--max-ram", "0.01"], "ct needs at least"),
        (["--precision", "double"], "unknown precision 'double'; allowed are auto, float32,"),
        (["--precision", "float16", "--device", "cpu"], "precision float16 is for CUDA; on a"),
        (["--precision", "auto", "--engine", "ray"], "may differ between the machines"),
        (["--precision", "double", "--engine", "ray"], "unknown precision 'double'; allowed"),
    ],
)
def test_bad_options(tmp_path: Path, model: str, words: list[str], message: str, capsys) -> None:
    scan, out = save(tmp_path / "ct.nii.gz", ct()), tmp_path / "out"
    assert main(["predict", "-i", str(scan), "-o", str(out), "-m", model, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_an_unknown_model(tmp_path: Path, capsys) -> None:
    scan, out = save(tmp_path / "ct.nii.gz", ct()), tmp_path / "out"
    assert main(["predict", "-i", str(scan), "-o", str(out), "-m", "no_such_model"]) == 2
    assert "no_such_model" in capsys.readouterr().err
    assert not out.exists()


def test_bad_outputs(tmp_path: Path, model: str, capsys) -> None:
    scan, file = save(tmp_path / "ct.nii.gz", ct()), tmp_path / "file"
    file.touch()
    assert main(["predict", "-i", str(scan), "-o", str(file), "-m", model]) == 2
    assert f"{file} is a file; give a folder" in capsys.readouterr().err
    assert main(["predict", "-i", str(tmp_path), "-o", str(tmp_path), "-m", model]) == 2
    assert "give another folder for the results" in capsys.readouterr().err
    save(tmp_path / "ct.nii", ct())
    assert main(["predict", "-i", str(tmp_path), "-o", str(tmp_path / "o"), "-m", model]) == 2
    assert "ct.nii and ct.nii.gz, whose results would be one file" in capsys.readouterr().err


def test_what_is_no_ct_is_warned_of_in_a_real_process(tmp_path: Path) -> None:
    model = str(tmp_path / "model")
    mots.build(CONFIG).save_pretrained(model)
    array = np.random.default_rng(0).integers(0, 256, (24, 26, 14)).astype(np.uint8)
    scan = save(tmp_path / "photo.nii.gz", array)
    command = [sys.executable, "-m", "mots_pretrained", "predict", "-i", str(scan)]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "out"), "-m", model, "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("warning: photo does not look like a CT in Hounsfield units")
    assert json.loads(done.stdout)["scans"][0]["scan"] == "photo"


@pytest.mark.long
def test_shipped_weights_on_a_real_ct(tmp_path: Path, shared: Path) -> None:
    scan = shared / "data" / "ts_patientA_ct" / "example_ct.nii.gz"
    assert main(["predict", "-i", str(scan), "-o", str(tmp_path), "-q"]) == 0
    source, result = nib.load(scan), nib.load(tmp_path / "example_ct_seg.nii.gz")
    assert result.get_data_dtype() == np.uint8
    assert result.shape == source.shape
    np.testing.assert_array_equal(result.affine, source.affine)
    assert (result.header["sform_code"], result.header["qform_code"]) == (2, 0)
    # the real scan's left kidney lies on the left: whatever liver there is, it is mostly right
    labels = np.asarray(result.dataobj)
    liver = np.argwhere(labels == 1)
    assert len(liver) > 1000
    assert liver[:, 0].mean() > labels.shape[0] / 2  # RAS: the first axis runs to the right
