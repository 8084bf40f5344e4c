"""A bundle is whole, runs by MONAI's command and in MONAI Label, and gives our own labels."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from added_organs import with_organs
from original_layouts import touch
from small_networks import SIZE, small
from turned_scans import smooth, write_turned

from mots_pretrained.cli import DONE, main
from mots_pretrained.export.monai_bundle import export_bundle
from mots_pretrained.export.monai_network import ProbabilityNetwork
from mots_pretrained.inference import Predictor
from mots_pretrained.inference.cohort import find_scans
from mots_pretrained.inference.network import Probabilities
from mots_pretrained.networks import build, load
from mots_pretrained.phantom import torso
from mots_pretrained.tasks import BRATS_MODALITIES, MOTS_CATEGORIES, MOTS_TASKS
from mots_pretrained.weights.card import Description, model_card
from mots_pretrained.weights.checkpoint import load_config

REGIONS = {"whole": (2, 1, 4), "core": (1, 4), "enhancing": (4,)}
CATEGORIES = dict(enumerate(("background", *MOTS_CATEGORIES)))
VALUES = {
    "segmenter": {0: "background", 3: "liver", 7: "spleen"},
    "tasks": CATEGORIES,
    "regions": {0: "background", 1: "core", 2: "whole", 4: "enhancing"},
    "organs": CATEGORIES | {12: "aorta", 13: "stomach"},
}  # what the label maps of each kind have
KINDS = [*VALUES]
ROOT = Path(__file__).parents[2]


def network(kind: str) -> torch.nn.Module:
    """A random network of a kind, whose outputs are spread over its classes."""
    torch.manual_seed(0)
    if kind == "tasks":
        return build(small()).eval()
    if kind == "organs":
        rare = {task.tumour: 0.95 for task in MOTS_TASKS if task.tumour}  # they win over organs
        net = with_organs(build(small(thresholds=rare)).eval(), "aorta", "stomach", seed=4)[0]
        with torch.no_grad():
            net.added[0].last.weight *= 20  # so that each of them is somewhere in every scan
            net.added[0].last.bias *= 20
        return net
    changes = {"class_values": ((7,), (3,))}
    if kind == "regions":
        base = small("segmenter")
        mri = dataclasses.replace(base.preprocessing, channels=("t1", "t2"), intensity="zscore")
        changes = {
            "classes": tuple(REGIONS),
            "class_values": tuple(REGIONS.values()),
            "exclusive": False,
            "encoder": dataclasses.replace(base.encoder, in_channels=2),
            "preprocessing": mri,
        }
    net = build(small("segmenter", **changes)).eval()
    with torch.no_grad():
        net.head.weight *= 5  # a random head decides for one class almost everywhere
    return net


def stored(path: Path, spacing, shape, turn: float = 0.0, seed: int = 0) -> Path:
    """A smooth scan that is finer than the contract, turned about its long axis."""
    array = smooth(shape, seed)
    array[0] = -1000
    return write_turned(path, array, spacing, turn)


def run(bundle: Path, scans: Path, output: Path) -> None:
    """Run a bundle by the command that MONAI's documentation gives."""
    words = [sys.executable, "-m", "monai.bundle", "run"]
    words += ["--config_file", bundle / "configs" / "inference.json"]
    words += ["--meta_file", bundle / "configs" / "metadata.json"]
    words += ["--bundle_root", bundle, "--dataset_dir", scans, "--output_dir", output]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [str(word) for word in words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def dice(one, other) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_a_bundle_has_what_the_specification_asks_for(tmp_path):
    from monai.bundle import ConfigParser

    card = model_card(
        small("segmenter"),
        Description("Spleens", "Finds spleens.", license="other", license_statements=("A: B.",)),
    )
    card = card.replace("# Spleens", "# All spleens")  # somebody wrote it
    config = export_bundle(network("segmenter"), tmp_path / "b", card=card)
    assert {str(p.relative_to(tmp_path / "b")) for p in (tmp_path / "b").rglob("*.*")} == {
        "configs/inference.json",
        "configs/metadata.json",
        "docs/README.md",
        "models/config.json",
        "models/model.pt",
    }
    licence = (tmp_path / "b" / "LICENSE").read_text()
    assert "Licence of the weights in models/: other\n- A: B.\n" in licence
    readme = (tmp_path / "b" / "docs" / "README.md").read_text()
    assert readme.startswith("# All spleens\n\nFinds spleens.")
    assert "0 background, 7 spleen, 3 liver" in readme
    meta = json.loads((tmp_path / "b" / "configs" / "metadata.json").read_text())
    asked = {
        *("version", "monai_version", "pytorch_version", "numpy_version", "task", "description"),
        *("required_packages_version", "authors", "copyright", "network_data_format", "schema"),
    }
    assert asked <= {*meta}
    assert meta["name"] == "All spleens"
    assert meta["network_data_format"]["outputs"]["pred"]["channel_def"] == {
        "0": "background",
        "7": "spleen",
        "3": "liver",
    }
    parser = ConfigParser()
    parser.read_config(config)
    for name in ("dataset", "evaluator", "network_def", "inferer", "preprocessing", "device"):
        assert name in parser.get()


@pytest.mark.parametrize("kind", KINDS)
def test_monai_finds_all_that_it_requires_of_a_bundle(kind, tmp_path):
    """By MONAI's own lists of properties, and what its specification asks of a tensor."""
    from monai.bundle import ConfigWorkflow

    net = network(kind)
    config = export_bundle(net, tmp_path)
    for channel in range(len(net.config.preprocessing.channels)):
        stored(tmp_path / "scans" / f"case_{channel:04d}.nii.gz", (6.0, 4.0, 4.0), (16, 32, 32))
    places = {"bundle_root": str(tmp_path), "dataset_dir": str(tmp_path / "scans")}
    workflow = ConfigWorkflow(str(config), logging_file=False, workflow_type="infer", **places)
    workflow.initialize()
    assert workflow.check_properties() == []
    meta = json.loads((tmp_path / "configs" / "metadata.json").read_text())
    assert all(isinstance(version, str) for version in meta["required_packages_version"].values())
    both = meta["network_data_format"]
    for tensor in (*both["inputs"].values(), *both["outputs"].values()):
        assert {
            *("type", "format", "num_channels", "spatial_shape", "dtype", "value_range"),
            *("is_patch_data", "channel_def"),
        } <= {*tensor}
        assert tensor["format"] in ("hounsfield", "magnitude", "segmentation")
        assert len(tensor["spatial_shape"]) == 3
        assert tensor["is_patch_data"] is True
    assert both["inputs"]["image"]["modality"] in ("CT", "MR")
    assert meta["version"] in meta["changelog"]
    names = VALUES[kind]
    assert both["outputs"]["pred"]["channel_def"] == {str(v): name for v, name in names.items()}
    assert {*meta["task"].removeprefix("Segmentation of ").split(", ")} == {
        name for value, name in names.items() if value
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_keeps_the_format_that_its_metadata_promises(kind, tmp_path):
    """By MONAI's own check: input and output of the network as metadata.json describes them."""
    from monai.bundle import verify_net_in_out

    bundle = tmp_path / "b"
    config = export_bundle(network(kind), bundle)
    meta = bundle / "configs" / "metadata.json"
    verify_net_in_out(
        "network_def", meta_file=str(meta), config_file=str(config), bundle_root=str(bundle)
    )


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_the_bundles_network_gives_the_exported_ones_probabilities(kind, tmp_path):
    net = network(kind)
    export_bundle(net, tmp_path)
    own = ProbabilityNetwork(load_config(tmp_path / "models")).eval()
    own.load_state_dict(torch.load(tmp_path / "models" / "model.pt"))
    windows = torch.randn(1, net.config.encoder.in_channels, *SIZE)
    assert torch.equal(own(windows), Probabilities(net)(windows))


def test_what_cannot_be_a_bundle_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a backbone makes no labels"):
        export_bundle(build(small("backbone")), tmp_path)
    with pytest.raises(ValueError, match="begins with '\\$' for code: '\\$import os'"):
        export_bundle(build(small("segmenter", classes=("$import os",))), tmp_path)
    assert not (tmp_path / "models").exists()


def test_a_bundle_reads_a_brats_folder_in_the_order_of_its_channels(tmp_path):
    from monai.bundle import ConfigParser

    base = small("segmenter")
    channels = ("flair", "t1w", "t1gd", "t2w")
    mri = dataclasses.replace(base.preprocessing, channels=channels, intensity="zscore")
    encoder = dataclasses.replace(base.encoder, in_channels=4)
    config = export_bundle(
        build(small("segmenter", encoder=encoder, preprocessing=mri)), tmp_path / "bundle"
    )
    touch(tmp_path / "scans" / "A", *(f"A_{kind}.nii.gz" for kind in BRATS_MODALITIES))
    parser = ConfigParser()
    parser.read_config(config)
    parser.update({"bundle_root": str(tmp_path / "bundle"), "dataset_dir": str(tmp_path / "scans")})
    (scan,) = parser.get_parsed_content("datalist")
    kinds = [Path(path).name for path in scan["image"]]
    assert kinds == ["A_flair.nii.gz", "A_t1.nii.gz", "A_t1ce.nii.gz", "A_t2.nii.gz"]


def test_by_the_command_a_bundle_has_the_card_of_its_weights(tmp_path):
    words = ["export", "transdodnet.phantom", "-o", str(tmp_path), "--format", "monai", "-q"]
    assert main(words) == DONE
    assert "Licence of the weights in models/: apache-2.0" in (tmp_path / "LICENSE").read_text()
    assert "procedural phantoms" in (tmp_path / "docs" / "README.md").read_text().lower()


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_monai_runs_the_bundle_and_agrees_with_the_predictor(kind, tmp_path):
    net = network(kind)
    export_bundle(net, tmp_path / "bundle")
    scans = tmp_path / "scans"
    channels = len(net.config.preprocessing.channels)
    for number in range(channels):
        end = f"_{number:04}.nii.gz" if channels > 1 else ".nii.gz"
        # of several windows, and to be resampled
        stored(scans / f"fine{end}", (3.0, 2.0, 2.5), (60, 100, 110), seed=number)
        stored(scans / f"oblique{end}", (2.5, 1.7, 1.7), (48, 90, 100), 0.2, seed=number)
        stored(scans / f"thin{end}", (5.0, 4.0, 4.0), (8, 40, 40), seed=number)
    run(tmp_path / "bundle", scans, tmp_path / "out")
    added = {12, 13} if kind == "organs" else set()
    agree(net, scans, tmp_path / "out", least=2, among=added)


@pytest.mark.long
def test_five_phantoms_on_fine_and_oblique_grids(tmp_path):
    net = load("transdodnet.phantom")
    export_bundle(net, tmp_path / "bundle")
    grids = {
        "liver": ((2.5, 1.5, 1.5), 0.0),
        "kidney": ((3.0, 1.8, 1.8), 0.15),
        "pancreas": ((2.0, 2.0, 2.0), -0.2),
        "spleen": ((5.0, 1.6, 1.6), 0.0),
        "lung": ((3.0, 2.2, 2.2), 0.25),
    }
    for seed, (domain, (spacing, turn)) in enumerate(grids.items()):
        phantom = torso(900 + seed, domain=domain, spacing=spacing)
        image = np.rint(phantom.image).astype(np.int16)
        write_turned(tmp_path / "scans" / f"{domain}.nii.gz", image, spacing, turn)
    run(tmp_path / "bundle", tmp_path / "scans", tmp_path / "out")
    agree(net, tmp_path / "scans", tmp_path / "out", least=3)


def agree(
    net: torch.nn.Module, scans: Path, output: Path, *, least: int, among: Collection[int] = ()
) -> None:
    """Compare all label maps with the predictor's, on grids and by each value's Dice.

    Each has at least so many values, those of ``among`` in any case.
    """
    predictor = Predictor(net)
    for scan in find_scans([scans], len(net.config.preprocessing.channels)):
        first = Path(scan.images[0])
        found = nib.load(output / f"{scan.name}_seg.nii.gz")
        prediction = predictor(scan.images)
        expected = prediction.volume.restore(prediction.labels)
        np.testing.assert_allclose(found.affine, nib.load(first).affine, atol=1e-4)
        values = np.asarray(found.dataobj)
        present = [value for value in np.unique(expected) if value]
        assert len(present) >= least, scan.name
        assert {*among} <= {*present}, scan.name
        assert {*np.unique(values)} == {*np.unique(expected)}
        for value in present:
            assert dice(values == value, expected == value) > 0.999, (scan.name, value)


MONAI_LABEL = """
import json, sys
from monailabel.tasks.infer.bundle import BundleInferTask
from monai.data import MetaTensor
task = BundleInferTask(sys.argv[1], {})
given = {"image": sys.argv[2], "device": "cpu", "skip_writer": True}
found = task(given)[1]["pred"]
import numpy as np
np.save(sys.argv[3], np.asarray(found).squeeze())
info = {key: task.info()[key] for key in ("type", "labels", "version")}
print(json.dumps({**info, "valid": task.is_valid()}))
"""


@pytest.mark.long
def test_monai_label_lists_the_bundle_and_runs_it(tmp_path):
    """Its own reader, run by the Python that MOTS_MONAILABEL names, which has MONAI Label."""
    python = os.environ.get("MOTS_MONAILABEL")
    if not python:
        pytest.skip("MOTS_MONAILABEL names no Python with MONAI Label")
    net = network("segmenter")
    export_bundle(net, tmp_path / "spleen_ct_segmentation")
    scan = stored(tmp_path / "oblique.nii.gz", (2.5, 1.7, 1.7), (48, 90, 100), 0.2)
    given = [tmp_path / "spleen_ct_segmentation", scan, tmp_path / "found.npy"]
    done = subprocess.run(
        [python, "-c", MONAI_LABEL, *map(str, given)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "type": "segmentation",
        "labels": {"spleen": 7, "liver": 3},
        "version": "1.0.0",
        "valid": True,
    }
    prediction = Predictor(net)(scan)
    expected = prediction.volume.restore(prediction.labels)
    found = np.load(tmp_path / "found.npy")
    assert found.shape == expected.shape
    for value in (3, 7):
        assert dice(found == value, expected == value) > 0.999
