"""A contract as MONAI's transforms: our own input, and the way back to the scan's grid."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImage
from scipy.spatial.transform import Rotation
from small_networks import small

from mots_pretrained.config import Preprocessing
from mots_pretrained.export.monai_transforms import SlidingWindow, ToContract, ToContractd, to_monai
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.reading import read_channels, read_volume
from mots_pretrained.images.resample import resample
from mots_pretrained.images.volume import Volume, affine_of, write_like


def stored(folder: Path, name: str, spacing, shape, turn: float = 0.0) -> Path:
    """A smooth scan that is finer than the contract, turned about its long axis."""
    coarse = np.random.default_rng(0).normal(0, 250, tuple(n // 6 + 2 for n in shape))
    array = resample(coarse, shape).astype(np.int16)
    array[0] = -1000
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    volume = Volume(array, rotation @ affine_of(spacing))
    folder.mkdir(exist_ok=True)
    write_like(folder / name, array, volume, dtype=np.int16)
    return folder / name


@pytest.mark.parametrize(
    ("spacing", "shape", "turn"),
    [
        ((3.0, 2.0, 2.5), (60, 100, 110), 0.0),
        ((2.5, 1.7, 1.7), (48, 90, 100), 0.2),  # oblique
        ((5.0, 4.0, 4.0), (8, 40, 40), 0.0),  # thinner than a window
    ],
)
def test_the_contract_as_monai_s_transforms(tmp_path, spacing, shape, turn):
    contract = small("segmenter").preprocessing
    path = stored(tmp_path, "ct.nii.gz", spacing, shape, turn)
    transforms = to_monai(contract, "image")
    item = transforms({"image": str(path)})
    volume = read_volume(path)
    expected = preprocess(volume, contract)
    np.testing.assert_allclose(item["image"].numpy(), expected, atol=1e-4)
    corners = item["image"].affine.numpy() @ np.array([[-0.5, -0.5, -0.5, 1.0]]).T
    np.testing.assert_allclose(corners, volume.affine @ np.array([[-0.5] * 3 + [1.0]]).T, atol=1e-3)
    back = transforms.inverse(item)["image"]
    assert back.shape == (1, *nib.load(path).shape)
    np.testing.assert_allclose(back.affine, nib.load(path).affine)
    restored = volume.restore(resample(expected[0], volume.shape))
    np.testing.assert_allclose(back[0].numpy(), restored, atol=1e-4)
    loaded = MetaTensor(nib.load(path).get_fdata()[None], affine=nib.load(path).affine)
    again = transforms({"image": loaded})["image"]  # as MONAI's own readers give it
    np.testing.assert_allclose(again.numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(again.affine, item["image"].affine)


AXES = ["".join(axes) for axes in itertools.product("LR", "AP", "IS")]


@pytest.mark.parametrize("number", range(30))
def test_any_grid_gives_the_input_that_preprocess_gives(number, tmp_path):
    """On random spacings, orientations, orders of axes and turns, alone and in a dictionary."""
    rng = np.random.default_rng(number)
    shape, spacing = rng.integers(6, 40, 3), rng.uniform(0.6, 5, 3)
    contract = Preprocessing(spacing=tuple(rng.uniform(1, 5, 3)), patch=(16,) * 3, window=(16,) * 3)
    array = rng.normal(0, 300, shape).astype("int16")
    array.flat[:2] = -1000, 500
    axes = [*rng.choice(AXES)]
    codes = [axes[k] for k in rng.permutation(3)]
    orientation = nib.orientations.axcodes2ornt(codes)
    affine = np.eye(4)
    for axis, (world, sign) in enumerate(orientation):
        affine[:, axis] = 0
        affine[int(world), axis] = sign * spacing[axis]
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(rng.uniform(-0.3, 0.3, 3)).as_matrix()
    path = tmp_path / "ct.nii.gz"
    nib.save(nib.Nifti1Image(array, turn @ affine), path)
    expected = preprocess(read_volume(path), contract)
    found = contract.to_monai()(path)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)
    item = contract.to_monai(keys=["image"])({"image": str(path), "other": 3})
    np.testing.assert_allclose(item["image"].numpy(), expected, atol=1e-3)
    assert item["other"] == 3
    stored = MetaTensor(nib.load(path).get_fdata()[None], affine=nib.load(path).affine)
    np.testing.assert_allclose(contract.to_monai()(stored).numpy(), expected, atol=1e-3)


def test_one_path_a_channel(tmp_path):
    contract = Preprocessing(
        spacing=(4, 3, 3),
        channels=("t1", "t2"),
        intensity="zscore",
        patch=(16,) * 3,
        window=(16,) * 3,
    )
    paths = [stored(tmp_path, f"{n}.nii.gz", (3, 2, 2 + n), (20, 30, 30)) for n in range(2)]
    with pytest.raises(RuntimeError, match="applying transform"):  # MONAI's, around ours
        contract.to_monai()(paths)
    paths[1] = stored(tmp_path, "1.nii.gz", (3, 2, 2), (20, 30, 30))
    expected = preprocess(read_channels(paths), contract)
    assert len(expected) == 2
    transform = contract.to_monai()
    made = transform(paths)
    np.testing.assert_allclose(made.numpy(), expected)
    back = transform.inverse(made)
    assert back.shape == (2, 30, 30, 20)


def test_the_inferer_gives_back_what_a_pointwise_network_gives():
    image = torch.randn(1, 1, 9, 20, 17)
    found = SlidingWindow((8, 8, 8), overlap=0.25, batch=3)(image, lambda x, add: x + add, 2.0)
    torch.testing.assert_close(found, image + 2)


@pytest.mark.filterwarnings("ignore:volume does not look like a CT")
def test_an_affine_in_lps_and_voxels_that_are_not_finite_are_refused():
    """As ITKReader gives it on request; its left and right were exchanged without a word."""
    scan = MetaTensor(torch.zeros(1, 8, 8, 8), meta={"affine": torch.eye(4), "space": "LPS"})
    transform = ToContract(Preprocessing(spacing=(2.0, 2.0, 2.0)))
    with pytest.raises(ValueError, match=r"space LPS.*load it with affine_lps_to_ras=True"):
        transform(scan)
    scan.meta["space"] = "RAS"
    assert transform(scan).shape == (1, 4, 4, 4)
    scan[0, 1, 2, 3] = torch.nan
    with pytest.raises(ValueError, match="1 of 512 voxels are NaN or infinite"):
        transform(scan)


def test_results_are_called_as_the_dictionary_says(tmp_path):
    """MONAI would call two series by their UIDs without the last part, the same for both."""
    contract = small("segmenter").preprocessing
    path = str(stored(tmp_path, "ct_0000.nii.gz", (5.0, 4.0, 4.0), (8, 40, 40)))
    made = ToContractd("image", contract)
    save = SaveImage(tmp_path / "out", output_postfix="seg", separate_folder=False)
    for name in ("1.2.840.113.10", "1.2.840.113.11"):
        save(made.inverse(made({"image": path, "name": name}))["image"])
    save(made.inverse(made({"image": path}))["image"])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "1.2.840.113.10_seg.nii.gz", "1.2.840.113.11_seg.nii.gz", "ct_0000_seg.nii.gz",
    ]  # fmt: skip
