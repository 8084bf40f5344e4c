"""Label maps for the online evaluations: names, values, grid."""

import numpy as np
import pytest

from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.inference.labels import Masks
from mots_pretrained.inference.predictor import Prediction
from mots_pretrained.inference.submission import check_submission, save_submission
from mots_pretrained.tasks import BCV_ORGANS, BRATS_REGIONS


def scan(tmp_path, name):
    """A scan from a file, so that its own axis order is to be restored."""
    volume = Volume.with_spacing(np.zeros((4, 5, 6), np.int16), (3.0, 2.0, 1.0))
    write_like(tmp_path / name, volume.array, volume, dtype=np.int16)
    return read_volume(tmp_path / name)


def test_bcv_numbers_organs_as_bcv_does_whatever_the_models_order(tmp_path):
    volume = scan(tmp_path, "img0061.nii.gz")
    names = tuple(reversed(BCV_ORGANS))
    labels = np.zeros(volume.shape, np.uint8)
    labels[1, 2, :] = 1, 2, 3, 11, 12, 13
    values = {name: value for value, name in enumerate(names, start=1)}
    path = save_submission(Prediction(labels, volume, values), tmp_path / "out", "bcv")
    assert path == tmp_path / "out/label0061.nii.gz"
    written = read_volume(path)
    assert written.array[1, 2].tolist() == [13, 12, 11, 3, 2, 1]
    assert written.array.sum() == 42
    assert written.array.dtype == np.uint8
    np.testing.assert_allclose(written.affine, volume.affine)
    with pytest.raises(ValueError, match="ct has no number of four digits"):
        save_submission(
            Prediction(labels, scan(tmp_path, "ct.nii.gz"), values), tmp_path / "out", "bcv"
        )


def test_brats_writes_inner_regions_over_outer_ones(tmp_path):
    volume = scan(tmp_path, "Brats18_A_1_t1.nii.gz")
    names = tuple(BRATS_REGIONS)
    masks = Masks(names, volume.shape)
    for extent, name in zip((2, 4, 6), names, strict=True):
        mask = np.zeros(volume.shape, bool)
        mask[1, 2, :extent] = True
        masks[name] = mask
    values = {name: value for value, name in enumerate(names, start=1)}
    prediction = Prediction(np.zeros(volume.shape, np.uint8), volume, values, masks)
    path = save_submission(prediction, tmp_path / "out", "brats")
    assert path == tmp_path / "out/Brats18_A_1.nii.gz"
    written = read_volume(path).array
    assert written[1, 2].tolist() == [4, 4, 1, 1, 2, 2]
    assert written.sum() == 14
    later = save_submission(prediction, tmp_path / "later", "brats-2023")
    assert read_volume(later).array[1, 2].tolist() == [3, 3, 1, 1, 2, 2]


@pytest.mark.parametrize("scan_name", ["BraTS-GLI-1-000", "BraTS-GLI-1-000-t1n"])
def test_brats_2023_names_a_file_after_its_case(tmp_path, scan_name):
    names = tuple(BRATS_REGIONS)
    volume = scan(tmp_path, f"{scan_name}.nii.gz")
    masks = Masks(names, volume.shape)
    for name in names:
        masks[name] = np.zeros(volume.shape, bool)
    prediction = Prediction(
        np.zeros(volume.shape, np.uint8), volume, dict.fromkeys(names, 1), masks
    )
    path = save_submission(prediction, tmp_path / "out", "brats-2023")
    assert path == tmp_path / "out/BraTS-GLI-1-000.nii.gz"


def test_what_a_model_lacks_is_told():
    check_submission("bcv", BCV_ORGANS)
    with pytest.raises(ValueError, match=r"to bcv needs the class 'spleen'.*it has liver"):
        check_submission("bcv", ("liver",))
    with pytest.raises(KeyError, match="'kits'; allowed are bcv, brats, brats-2023"):
        check_submission("kits", ("liver",))
