"""What a header says is believed where it can be; contradictions are warned of."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from small_scans import AFFINE, ramp

from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import write_like


def test_no_form_code_is_assumed_and_warned_of(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ramp(), None)
    image.header.set_zooms((1.5, 2.5, 4.0))
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.warns(UserWarning, match="both form codes are 0"):
        volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.spacing == pytest.approx((4.0, 2.5, 1.5))
    np.testing.assert_array_equal(volume.array, ramp().transpose(2, 1, 0)[:, ::-1])
    write_like(tmp_path / "b.nii.gz", volume.array % 2, volume)
    header = nib.load(tmp_path / "b.nii.gz").header
    assert (header["sform_code"], header["qform_code"]) == (0, 0)


def test_disagreeing_forms_are_both_kept(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ramp(), AFFINE)
    image.set_sform(AFFINE, 2)
    image.set_qform(np.diag([1.5, 2.5, 4.0, 1.0]), 1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.warns(UserWarning, match="its qform and sform contradict each other"):
        volume = read_volume(tmp_path / "a.nii")
    write_like(tmp_path / "b.nii", volume.array % 2, volume)
    result = nib.load(tmp_path / "b.nii")
    np.testing.assert_allclose(result.get_qform(), np.diag([1.5, 2.5, 4.0, 1.0]), atol=1e-6)
    np.testing.assert_allclose(result.get_sform(), AFFINE)


def test_other_units_than_millimetres_are_refused(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.diag([0.001, 0.001, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "metres.nii.gz")
    with pytest.raises(ValueError, match="measures in meters; write its header in mm"):
        read_volume(tmp_path / "metres.nii.gz")


def forms(path: Path, sform: np.ndarray, qform: np.ndarray) -> Path:
    image = nib.Nifti1Image(ramp(), None)
    image.header.set_qform(qform, 1)
    image.header.set_sform(sform, 1)
    image.to_filename(path)
    return path


def test_a_qform_that_contradicts_the_sform_is_warned_of(tmp_path: Path) -> None:
    swapped = np.diag([-1.0, 1, 1, 1]) @ AFFINE
    path = forms(tmp_path / "a.nii.gz", AFFINE, swapped)
    with pytest.warns(UserWarning, match=r"contradict each other \(.*40\.0 mm.*LAS and RAS\)"):
        volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, ramp().transpose(2, 1, 0)[:, ::-1, ::-1])


def test_a_spacing_that_contradicts_the_sform_is_warned_of(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ramp(), None)
    image.header.set_sform(AFFINE, 1)
    image.header["pixdim"][1:4] = 1, 1, 3
    image.to_filename(tmp_path / "a.nii.gz")
    with pytest.warns(UserWarning, match=r"1 x 1 x 3 mm by pixdim and 1\.5 x 2\.5 x 4 mm"):
        assert read_volume(tmp_path / "a.nii.gz").spacing == pytest.approx((4.0, 2.5, 1.5))


@pytest.mark.parametrize("degrees", [0.0, 10.0, 179.999])
def test_forms_that_agree_are_not_warned_of(tmp_path: Path, degrees: float) -> None:
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    volume = read_volume(forms(tmp_path / "a.nii.gz", turn @ AFFINE, turn @ AFFINE))
    assert volume.spacing == pytest.approx((4.0, 2.5, 1.5))


@pytest.mark.parametrize(("stored", "read"), [(0.0, 1.0), (-1.0, -1.0), (2.5, 1.0)])
@pytest.mark.parametrize("sform_code", [0, 1])
def test_a_handedness_of_0_is_1_as_nifti_says(tmp_path, recwarn, stored, read, sform_code):
    """It was a damaged orientation, or with an sform a contradiction to it."""
    affine = np.diag([-1.5, -2.5, 4.0 * read, 1.0])
    image = nib.Nifti1Image(ramp(), affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, sform_code)
    nib.save(image, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[76:80] = np.float32(stored).tobytes()  # pixdim[0]
    (tmp_path / "a.nii").write_bytes(raw)
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").file_affine, affine, atol=1e-6)
    assert not recwarn.list
