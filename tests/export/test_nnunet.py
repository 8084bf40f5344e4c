"""A model folder for nnU-Net: what is in it, and its labels through nnU-Net's own predictor."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from random_segmenters import REGIONS, network
from small_networks import small
from turned_scans import smooth, write_turned

from mots_pretrained.adaptation.ensemble import Ensemble
from mots_pretrained.cli import DONE, main
from mots_pretrained.errors import UserError
from mots_pretrained.export.nnunet import command, export_nnunet
from mots_pretrained.export.nnunet_network import NnunetNetwork, largest_first
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference import Predictor
from mots_pretrained.networks import build

ROOT = Path(__file__).parents[2]


def as_nnunet_builds(net):
    own = NnunetNetwork(dataclasses.asdict(net.config)).eval()
    own.module.load_state_dict(net.state_dict())
    return own


def as_nnunet_writes(found, config):
    """Write regions over each other in the order of their outputs, as its LabelManager does."""
    labels = np.zeros(found.shape[1:])
    order = (config.label_values[config.classes[k]][0] for k in largest_first(config))
    for channel, value in zip(found, order, strict=True):
        labels[channel > 0] = value
    return labels


def test_the_folder_is_what_nnunet_reads(tmp_path):
    export_nnunet(Ensemble([network("classes"), network("classes", 1)]), tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")} == {
        *("dataset.json", "plans.json", "trainer/nnUNetTrainerMots.py"),
        *("fold_0/checkpoint_final.pth", "fold_1/checkpoint_final.pth"),
    }
    dataset = json.loads((tmp_path / "dataset.json").read_text())
    assert dataset["labels"] == {"background": 0, "spleen": 1, "liver": 2}
    assert dataset["channel_names"] == {"0": "ct"}
    plans = json.loads((tmp_path / "plans.json").read_text())
    own = plans["configurations"]["3d_fullres"]
    assert own["spacing"] == [6.0, 4.0, 4.0]
    assert own["patch_size"] == [117, 125, 125]  # 700 x 500 x 500 mm
    checkpoint = torch.load(tmp_path / "fold_1" / "checkpoint_final.pth", weights_only=True)
    net = NnunetNetwork(own["architecture"]["arch_kwargs"]["config"])
    net.load_state_dict(checkpoint["network_weights"])
    with pytest.raises(ValueError, match="which a transdodnet has not; export a segmenter"):
        export_nnunet(build(small()), tmp_path / "other")


def test_regions_come_in_the_order_of_the_outputs(tmp_path):
    export_nnunet(network("regions"), tmp_path)
    dataset = json.loads((tmp_path / "dataset.json").read_text())
    assert list(dataset["labels"].items())[1:] == [(n, list(v)) for n, v in REGIONS.items()]
    assert dataset["regions_class_order"] == [2, 1, 3]


def test_what_nnunet_would_take_for_something_else_is_refused(tmp_path):
    export_nnunet(Ensemble([network("classes"), network("classes", 1)]), tmp_path)
    assert command(tmp_path).endswith(f"-m {tmp_path} -f 0 1")
    export_nnunet(Ensemble([network("classes"), network("classes", 1)]), tmp_path)
    with pytest.raises(UserError, match="holds fold_1 of another network"):
        export_nnunet(network("classes"), tmp_path)
    for names, values, told in (
        (("whole",), ((1,),), "no regions of one value each, as whole; classes"),
        (("a", "b"), ((1,), (2,)), "no regions of one value each, as a, b; classes"),
        (("whole", "core"), ((300, 1), (1,)), "values up to 255, not 300"),
        (("ignore", "core"), ((2, 1), (1,)), "meaning of its own for the class name ignore"),
    ):
        net = network("regions", classes=names, class_values=values)
        with pytest.raises(UserError, match=told):
            export_nnunet(net, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    net = network("regions", classes=("whole", "core"), class_values=((2, 300), (300,)))
    with pytest.raises(UserError, match="not 300"):
        export_nnunet(net, tmp_path / "refused")
    single = network("regions", classes=("whole",), class_values=((1, 2),))
    path = export_nnunet(single, tmp_path / "my model")
    words = shlex.split(command(path))
    assert words[0] == f"nnUNet_extTrainer={path}/trainer"
    assert words[-4:] == ["-m", str(path), "-f", "0"]


def test_nnunet_s_half_precision_does_not_reach_the_network():
    net = network("classes")
    own = as_nnunet_builds(net)
    image = torch.randn(1, 1, 16, 40, 40) * 100
    with torch.no_grad():
        expected = own(image)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(own(image), expected)


@pytest.mark.parametrize("extent", [0.5, 0.8])
def test_a_brain_is_surrounded_by_zeros_as_predictor_sees_it(extent):
    """Its outermost voxels were repeated outwards, for nnU-Net had cut the zeros off."""
    net = network("regions")
    window = net.config.preprocessing.window
    own = as_nnunet_builds(net)
    size = [int(extent * w) for w in window]
    first = [(2 * w - n) // 2 for w, n in zip(window, size, strict=True)]
    place = tuple(slice(a, a + n) for a, n in zip(first, size, strict=True))
    along = np.meshgrid(*[np.linspace(-1, 1, n) for n in size], indexing="ij")
    scan = np.zeros([2 * w for w in window], np.float32)
    scan[place] = np.where(sum(a**2 for a in along) < 1, smooth(tuple(size)), 0)
    volume = Volume.with_spacing(scan, net.config.preprocessing.spacing)
    image = preprocess(volume, net.config.preprocessing)
    expected = Predictor(net).segment(volume, image).labels[place]
    cropped = torch.from_numpy(np.ascontiguousarray(image[(slice(None), *place)])).flip((-2, -1))
    with torch.no_grad():
        found = own(F.pad(cropped, (3, 4, 3, 4, 3, 4))[None])[0]
    found = found[:, 3:-4, 3:-4, 3:-4].flip((-2, -1)).numpy()
    labels = as_nnunet_writes(found, net.config)
    same = (labels == expected)[scan[place] != 0].mean()
    assert same > 0.9


def test_a_scan_that_goes_on_to_its_border_is_continued_as_predictor_does():
    net = network("regions")
    depth, height, width = net.config.preprocessing.window
    own = as_nnunet_builds(net)
    scan = smooth((depth - 6, height, width + 10)) + 2000  # nothing is zero
    volume = Volume.with_spacing(scan, net.config.preprocessing.spacing)
    image = preprocess(volume, net.config.preprocessing)
    expected = Predictor(net).segment(volume, image).labels
    turned = torch.from_numpy(np.ascontiguousarray(image)).flip((-2, -1))
    with torch.no_grad():
        found = own(F.pad(turned, (3, 4, 3, 4, 3, 4))[None])[0]
    found = found[:, 3:-4, 3:-4, 3:-4].flip((-2, -1)).numpy()
    labels = as_nnunet_writes(found, net.config)
    assert (labels == expected).mean() > 0.999


def test_by_the_command(tmp_path, capsys):
    network("classes").save_pretrained(tmp_path / "net")
    words = ["export", str(tmp_path / "net"), "-o", str(tmp_path / "out"), "--format", "nnunet"]
    assert main(words) == DONE
    assert (tmp_path / "out" / "fold_0" / "checkpoint_final.pth").is_file()
    assert capsys.readouterr().out.splitlines()[-1] == command(tmp_path / "out")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["classes", "regions", "ensemble"])
def test_nnunet_s_own_predictor_gives_the_same_labels(kind, tmp_path):
    """By its command, of the environment whose folder of programs MOTS_NNUNET names."""
    programs = os.environ.get("MOTS_NNUNET")
    if not programs:
        pytest.skip("MOTS_NNUNET names no folder with nnUNetv2_predict_from_modelfolder")
    net = network(kind)
    if kind == "ensemble":
        net = Ensemble([net, network(kind, 1)]).eval()
    export_nnunet(net, tmp_path / "model")
    scans, out = tmp_path / "scans", tmp_path / "out"
    write_turned(scans / "same_0000.nii.gz", smooth((30, 60, 70)), net.config.preprocessing.spacing)
    write_turned(scans / "fine_0000.nii.gz", smooth((60, 100, 110)), (3.0, 2.0, 2.5))
    write_turned(scans / "coarse_0000.nii.gz", smooth((20, 40, 50)), (8.0, 5.0, 5.0))
    write_turned(scans / "oblique_0000.nii.gz", smooth((48, 90, 100)), (2.5, 1.7, 1.7), 0.2)
    array = nib.load(scans / "same_0000.nii.gz")
    nib.save(array.as_reoriented(nib.orientations.axcodes2ornt("ASL")), scans / "axes_0000.nii.gz")
    words = [f"{programs}/nnUNetv2_predict_from_modelfolder", "-i", scans, "-o", out]
    words += ["-m", tmp_path / "model", "-device", "cpu", "-npp", "1", "-nps", "1", "-f"]
    words += ["0", "1"] if kind == "ensemble" else ["0"]
    own = dict.fromkeys(("nnUNet_raw", "nnUNet_results", "nnUNet_preprocessed"), str(tmp_path))
    own |= {"nnUNet_extTrainer": str(tmp_path / "model" / "trainer"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [str(word) for word in words],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for scan in sorted(scans.iterdir()):
        found = np.asarray(nib.load(out / scan.name.replace("_0000", "")).dataobj)
        prediction = Predictor(net)(scan)
        expected = prediction.volume.restore(prediction.labels)
        for name, values in net.config.label_values.items():
            one, other = np.isin(found, values), np.isin(expected, values)
            assert other.sum() > 50, (scan.name, name)
            assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.999, (scan.name, name)


def test_regions_that_come_smallest_first_are_written_largest_first(tmp_path):
    """As BraTS's come: nnU-Net would write the whole tumour over all that lies in it."""
    values = {"core": (1, 4), "enhancing": (4,), "whole": (2, 1, 4)}
    net = network("regions", classes=tuple(values), class_values=tuple(values.values()))
    export_nnunet(net, tmp_path)
    dataset = json.loads((tmp_path / "dataset.json").read_text())
    assert list(dataset["labels"]) == ["background", "whole", "core", "enhancing"]
    assert dataset["regions_class_order"] == [2, 1, 4]
    own = NnunetNetwork(dataclasses.asdict(net.config))
    own.module.load_state_dict(net.state_dict())
    image = torch.randn(1, 20, 40, 70) * 100 + 0.5
    with torch.no_grad():
        found = own.eval()(image[None])[0].flip((-2, -1))
    labels = np.zeros(found.shape[1:])
    for channel, value in zip(found, dataset["regions_class_order"], strict=True):
        labels[channel.numpy() > 0] = value  # as nnU-Net's LabelManager does
    ours = np.ascontiguousarray(image.flip((-2, -1)).numpy())
    volume = Volume.with_spacing(ours, net.config.preprocessing.spacing)
    expected = Predictor(net).segment(volume, ours).labels
    assert len(np.unique(expected)) > 2
    np.testing.assert_array_equal(labels, expected)
