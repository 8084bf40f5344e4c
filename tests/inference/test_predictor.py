"""The predictor: on the scan's own grid, the same in all 48 axis orders, the contract kept."""

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from small_scans import ORDERS
from tiny_predictors import CONFIG, CONTRACT, Threshold, Tiny, body, segmenter
from torch import Tensor, nn

from mots_pretrained.config import ModelConfig
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference import Predictor


def stored(path: Path, array: np.ndarray, affine: np.ndarray, codes: str) -> Path:
    image = nib.Nifti1Image(array, affine)
    transform = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    nib.save(image.as_reoriented(transform), path)
    return path


def as_ras(path: Path) -> np.ndarray:
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)


def check_all_orders(tmp_path: Path, array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Predict a RAS scan stored in all 48 ways; every map read back must be the same."""
    predictor = Predictor(Tiny())
    reference = None
    for codes in ORDERS:
        path = stored(tmp_path / "scan.nii", array, affine, codes)
        predictor(path).save(tmp_path / "seg.nii.gz")
        source, result = nib.load(path), nib.load(tmp_path / "seg.nii.gz")
        assert result.shape == source.shape
        np.testing.assert_array_equal(result.affine, source.affine)
        labels = as_ras(tmp_path / "seg.nii.gz")
        reference = labels if reference is None else reference
        np.testing.assert_array_equal(labels, reference)
    assert reference is not None
    return reference


def test_all_48_orders_give_the_same_prediction(tmp_path: Path) -> None:
    # three different voxel sizes, so that an axis mixed up would be resampled wrongly
    labels = check_all_orders(tmp_path, body(), np.diag([2.0, 2.5, 5.0, 1.0]))
    assert len(np.unique(labels)) > 5


def test_all_48_orders_of_a_real_ct(tmp_path: Path, shared: Path) -> None:
    image = nib.load(shared / "data" / "ts_patientA_ct" / "example_ct.nii.gz")
    crop = np.asarray(image.dataobj)[30:60, 30:56, 90:108].astype(np.int16)
    affine = image.affine @ np.diag([0.7, 0.9, 1.3, 1])  # as if its voxels were no cubes
    labels = check_all_orders(tmp_path, crop, affine)
    assert len(np.unique(labels)) > 5


def test_at_the_contract_s_spacing_labels_are_the_network_s(tmp_path: Path) -> None:
    array = body((11, 30, 20))
    prediction = Predictor(Threshold())(Volume.with_spacing(array, CONTRACT.spacing))
    np.testing.assert_array_equal(prediction.labels == 1, array > 0)


@pytest.mark.parametrize("spacing", [(2.0, 1.0, 1.5), (5.0, 4.0, 3.5), (1.5, 6.0, 0.9)])
def test_a_ball_is_found_where_it_is(spacing: tuple[float, float, float]) -> None:
    centre, radius = np.array([50.0, 40.0, 45.0]), 25.0
    shape = tuple(int(110 / step) for step in spacing)
    places = [(np.arange(n) + 0.5) * step for n, step in zip(shape, spacing, strict=True)]
    d, h, w = np.meshgrid(*places, indexing="ij")
    distance = np.sqrt((d - centre[0]) ** 2 + (h - centre[1]) ** 2 + (w - centre[2]) ** 2)
    # a soft edge, as scanners draw it
    array = np.clip((radius - distance) * 60, -1000, 300).astype(np.int16)
    prediction = Predictor(Threshold())(Volume.with_spacing(array, spacing))
    found, truth = prediction.labels == 1, distance < radius
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.97
    middle = [float(x[found].mean()) for x in (d, h, w)]
    np.testing.assert_allclose(middle, centre, atol=0.05 * max(spacing))
    voxel = np.prod(spacing) / 1000
    assert prediction.volumes["liver"] == pytest.approx(found.sum() * voxel)
    assert prediction.volumes["liver"] == pytest.approx(4 / 3 * np.pi * 2.5**3, rel=0.05)
    assert prediction.spacing == pytest.approx(spacing)


def test_nothing_is_found_beyond_a_tilted_scan(tmp_path: Path) -> None:
    """Its ends are continued on the straight grid, and what was found there counted."""
    affine = np.diag([-3.0, -3.0, 4.0, 1.0])
    affine[1, 2] = 4.0 * np.tan(np.radians(20.0))  # each slice lies further to the front
    scan = np.full((16, 18, 14), 100, np.int16)
    scan[8, 9, 7] = -1000
    nib.save(nib.Nifti1Image(scan, affine), tmp_path / "ct.nii.gz")
    with pytest.warns(UserWarning, match="tilted by 20"):
        prediction = Predictor(Threshold())(tmp_path / "ct.nii.gz")
    assert prediction.labels.shape[1] > 18
    prediction.save(tmp_path / "seg.nii.gz")
    written = np.count_nonzero(np.asarray(nib.load(tmp_path / "seg.nii.gz").dataobj))
    assert written in (scan.size - 1, scan.size - 2)
    assert prediction.volumes["liver"] == pytest.approx(written * 36 / 1000)
    assert prediction.mask_volumes["liver"] == pytest.approx(written * 36 / 1000)


def test_window_size_and_batch_do_not_change_a_pointwise_network() -> None:
    volume = Volume.with_spacing(body(), (3.0, 2.0, 2.0))
    one = Predictor(Threshold())(volume).labels
    wide = dataclasses.replace(
        CONFIG, preprocessing=dataclasses.replace(CONTRACT, window=(64,) * 3)
    )
    np.testing.assert_array_equal(Predictor(Threshold(wide))(volume).labels, one)
    np.testing.assert_array_equal(Predictor(Threshold(), batch=4, flips=True)(volume).labels, one)


def test_chosen_tasks_keep_their_values(tmp_path: Path) -> None:
    volume = Volume.with_spacing(body(), (3.0, 2.0, 2.0), name="scan")
    everything = Predictor(Tiny())(volume)
    few = Predictor(Tiny(), tasks=["spleen", "liver"])(volume)
    assert few.values == {"liver": 1, "liver_tumour": 2, "spleen": 11}
    assert set(np.unique(few.labels)) <= {0, 1, 2, 11}
    for name in few.names:
        np.testing.assert_array_equal(few.mask(name), everything.mask(name))
    with pytest.raises(KeyError, match="no category 'kidney' here; there are: liver"):
        few.mask("kidney")
    few.save_mask("spleen", tmp_path / "spleen.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "spleen.nii.gz").array, few.mask("spleen"))


def test_postprocessing_cleans_labels_and_masks_alike() -> None:
    volume = Volume.with_spacing(body(), (3.0, 2.0, 2.0))
    raw, clean = Predictor(Tiny())(volume), Predictor(Tiny(), postprocess=True)(volume)
    assert (clean.labels != raw.labels).any()
    for name, value in clean.values.items():
        assert not (clean.mask(name) & ~raw.mask(name)).any()
        assert not ((clean.labels == value) & ~clean.mask(name)).any()
    # a voxel is background only if no category is left there
    left = np.zeros(volume.shape, bool)
    for name in clean.names:
        left |= clean.mask(name)
    np.testing.assert_array_equal(clean.labels > 0, left)


def test_cleaning_one_task_looks_at_another_that_is_not_shown() -> None:
    volume = Volume.with_spacing(body(), (3.0, 2.0, 2.0))
    clean = Predictor(Tiny(), postprocess=True)(volume)
    one = Predictor(Tiny(), tasks=["hepatic_vessel"], postprocess=True, probabilities=True)(volume)
    raw = Predictor(Tiny(), tasks=["hepatic_vessel"], probabilities=True)(volume)
    assert one.values == {"hepatic_vessel": 5, "hepatic_vessel_tumour": 6}
    assert (one.mask("hepatic_vessel_tumour") != raw.mask("hepatic_vessel_tumour")).any()
    for name in one.names:
        np.testing.assert_array_equal(one.mask(name), clean.mask(name))
    tumour, vessel = one.mask("hepatic_vessel_tumour"), one.mask("hepatic_vessel")
    np.testing.assert_array_equal(one.labels, np.where(tumour, 6, np.where(vessel, 5, 0)))
    np.testing.assert_array_equal(one.probabilities, raw.probabilities)
    with pytest.raises(KeyError, match="no category 'liver' here; there are: hepatic_vessel"):
        one.mask("liver")


def test_what_has_no_rule_of_cleaning_is_refused() -> None:
    vessels = dataclasses.replace(CONFIG, tasks=(CONFIG.tasks[2],))  # and no liver to lie in
    for net, names in (
        (segmenter(False, ("whole", "core")), "whole, core"),
        (segmenter(True, ("liver", "spleen")), "liver, spleen"),
        (Tiny(vessels), "hepatic_vessel, hepatic_vessel_tumour"),
    ):
        with pytest.raises(ValueError, match=f"no rule for what is predicted here: {names}; leave"):
            Predictor(net, postprocess=True)


def test_a_thin_slab_is_no_body_in_air() -> None:
    class Deep(Threshold):
        """Finds a liver where 8 mm above and below are tissue, too."""

        def forward(self, image: Tensor, tasks: list[str] | None = None) -> Tensor:
            tissue = (image > -0.5).float()
            around = nn.functional.avg_pool3d(tissue, (5, 1, 1), 1, (2, 0, 0))
            return super().forward(around - 0.9, tasks)

    whole = np.full((30, 20, 20), -1000, np.int16)
    whole[:, 4:16, 4:16] = 61
    slab = Volume.with_spacing(whole[:3], CONTRACT.spacing)
    np.testing.assert_array_equal(Predictor(Deep())(slab).labels == 1, whole[:3] > 0)


def test_a_voxel_that_is_not_finite_is_the_scan_s_fault_not_the_weights() -> None:
    array = np.zeros((8, 16, 16), np.float32)
    array[2, 3, 4] = np.nan
    predictor = Predictor(Threshold())
    with pytest.raises(ValueError, match="volume: 1 of 2048 voxels are NaN or infinite"):
        predictor(Volume.with_spacing(array, CONTRACT.spacing))
    with pytest.raises(ValueError, match="the prepared image: 1 of 2048 voxels are NaN"):
        predictor.prepared(array[None])


def test_what_cannot_be_predicted_is_said() -> None:
    with pytest.raises(KeyError, match="unknown task 'heart'; this model has: liver, kidney"):
        Predictor(Tiny(), tasks=["liver", "heart"])
    with pytest.raises(ValueError, match="at least one of: liver"):
        Predictor(Tiny(), tasks="liver")
    with pytest.raises(ValueError, match="at least one of: liver"):
        Predictor(Tiny(), tasks=[])
    with pytest.raises(ValueError, match="a backbone alone makes no labels"):
        Predictor(Tiny(ModelConfig(architecture="backbone")))
    with pytest.raises(ValueError, match="this segmenter always gives its classes: a, b"):
        Predictor(segmenter(True, ("a", "b")), tasks=["liver"])
    with pytest.raises(ValueError, match="unknown device 'tpu9'"):
        Predictor(Tiny(), device="tpu9")
    with pytest.raises(ValueError, match="unknown precision 'half'; allowed are auto, float32"):
        Predictor(Tiny(), precision="half")
    with pytest.raises(ValueError, match="float16 is for CUDA"):
        Predictor(Tiny(), precision="float16")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device cuda is not available here; use cpu"):
            Predictor(Tiny(), device="cuda")


@pytest.mark.parametrize("device", ["mps", "gpu", "meta"])
def test_devices_that_are_not_offered_are_refused(device: str) -> None:
    with pytest.raises(ValueError, match="allowed are cpu and cuda"):
        Predictor(Tiny(), device=device)
