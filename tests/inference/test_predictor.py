"""The predictor: on the scan's own grid, the same in all 48 axis orders, the contract kept."""

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from small_scans import ORDERS
from torch import Tensor, nn

from mots_pretrained.config import EncoderConfig, ModelConfig, Preprocessing
from mots_pretrained.errors import UserError
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.resample import resample
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference import Predictor
from mots_pretrained.tasks import BRATS_REGIONS, MOTS_TASKS, Task

CONTRACT = Preprocessing(spacing=(4.0, 3.0, 3.0), window=(8, 16, 16), patch=(8, 16, 16))
CONFIG = ModelConfig(preprocessing=CONTRACT)


class Tiny(nn.Module):
    """A small random network with the signature of the real one."""

    def __init__(self, config: ModelConfig = CONFIG) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.config = config
        self.body = nn.Sequential(
            nn.Conv3d(1, 14, 3, padding=1), nn.InstanceNorm3d(14), nn.Dropout(0.5)
        )

    def forward(self, image: Tensor, tasks: list[str] | None = None) -> Tensor:
        names = [task.name for task in self.config.tasks]
        chosen = [names.index(task) for task in tasks or names]
        return 3 * self.body(image).unflatten(1, (7, 2))[:, chosen]


class Threshold(nn.Module):
    """Finds a liver wherever a voxel is above 0 HU; nothing else, whatever the task."""

    def __init__(self, config: ModelConfig = CONFIG) -> None:
        super().__init__()
        self.config = config

    def forward(self, image: Tensor, tasks: list[str] | None = None) -> Tensor:
        logits = torch.full((len(image), len(tasks or MOTS_TASKS), 2, *image.shape[2:]), -20.0)
        logits[:, 0, 0] = 20 * image[:, 0]
        return logits


def body(shape: tuple[int, int, int] = (18, 22, 26), seed: int = 0) -> np.ndarray:
    """A smooth random CT between air and bone, in RAS order of axes."""
    coarse = np.random.default_rng(seed).normal(0, 400, tuple(n // 4 + 2 for n in shape))
    array = resample(coarse, shape) - 50
    array[0] = -1000
    return array.astype(np.int16) | 1  # never 0 HU, where the networks below are undecided


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


class Constant(nn.Module):
    """A segmenter whose logits are the input's channels, after a background of zero."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, image: Tensor) -> Tensor:
        if self.config.exclusive:
            return torch.cat([torch.zeros_like(image[:, :1]), image], dim=1)
        return image


def segmenter(exclusive: bool, names: tuple[str, ...]) -> Constant:
    contract = Preprocessing(
        spacing=(1, 1, 1), intensity="zscore", channels=names, window=(8, 8, 8), patch=(8, 8, 8)
    )
    return Constant(
        ModelConfig(
            architecture="segmenter",
            encoder=EncoderConfig(in_channels=len(names)),
            classes=names,
            exclusive=exclusive,
            preprocessing=contract,
        )
    )


def test_segmenters_of_exclusive_classes_and_of_regions() -> None:
    array = np.random.default_rng(0).normal(0, 1, (3, 9, 8, 10)).astype(np.float32)
    volume = Volume.with_spacing(array, (1, 1, 1))
    score = (array - array.mean((1, 2, 3), keepdims=True)) / array.std((1, 2, 3), keepdims=True)
    organs = Predictor(segmenter(True, ("a", "b", "c")))(volume)
    expected = np.where(score.max(0) > 0, score.argmax(0) + 1, 0)
    np.testing.assert_array_equal(organs.labels, expected)
    np.testing.assert_array_equal(organs.mask("b"), expected == 2)
    regions = Predictor(segmenter(False, tuple(BRATS_REGIONS)))(volume)
    inside = score > 0
    np.testing.assert_array_equal(
        regions.labels, np.where(inside[0], 1, np.where(inside[1], 2, np.where(inside[2], 3, 0)))
    )
    np.testing.assert_array_equal(regions.mask("whole_tumour"), inside[2])


def test_channels_come_from_files_in_order(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(0, 1, (2, 9, 8, 10)).astype(np.float32)
    for index in range(2):
        nib.save(nib.Nifti1Image(array[index], np.eye(4)), tmp_path / f"{index}.nii.gz")
    predictor = Predictor(segmenter(False, ("t1", "t2")))
    labels = predictor([tmp_path / "0.nii.gz", tmp_path / "1.nii.gz"]).labels
    swapped = predictor([tmp_path / "1.nii.gz", tmp_path / "0.nii.gz"]).labels
    np.testing.assert_array_equal(np.unique(labels), [0, 1, 2])
    assert (labels != swapped).any()
    with pytest.raises(ValueError, match=r"has 1 channel, the model expects 2 channels \(t1, t2\)"):
        predictor(tmp_path / "0.nii.gz")


def test_the_network_is_left_as_it_was() -> None:
    net = Tiny()
    net.train()
    net.body[1].eval()
    volume = Volume.with_spacing(body(), (3.0, 2.0, 2.0))
    first, second = Predictor(net)(volume), Predictor(net)(volume)
    np.testing.assert_array_equal(first.labels, second.labels)  # no dropout while predicting
    assert net.training
    assert net.body[2].training
    assert not net.body[1].training
    assert all(p.grad is None for p in net.parameters())


def test_plain_callables_are_networks_too() -> None:
    class Plain:
        config = CONFIG

        def __call__(self, image: Tensor, tasks: list[str]) -> Tensor:
            return Threshold()(image, tasks)

    volume = Volume.with_spacing(body(), CONTRACT.spacing)
    np.testing.assert_array_equal(Predictor(Plain())(volume).labels == 1, volume.array > 0)


def test_a_network_stays_where_it_is_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Tiny()
    moved: list[object] = []
    monkeypatch.setattr(net, "to", lambda device: moved.append(device))
    predictor = Predictor(net)
    assert moved == []
    assert predictor.device == torch.device("cpu")
    Predictor(net, device="cpu")
    assert moved == [torch.device("cpu")]
    elsewhere = Tiny().to("meta")  # as a GPU: a place that is not the CPU
    assert Predictor(elsewhere).device.type == "meta"
    assert next(elsewhere.parameters()).device.type == "meta"
    later = Tiny()
    predictor = Predictor(later)
    later.to("meta")
    assert predictor.device.type == "meta"  # it follows its network


def test_a_network_that_predicted_can_be_trained() -> None:
    net = Tiny()
    Predictor(net)(Volume.with_spacing(body(), (3.0, 2.0, 2.0)))
    net.train()
    net(torch.zeros(1, 1, 8, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_default_type_of_64_bits_changes_nothing() -> None:
    net, volume = Tiny(), Volume.with_spacing(body(), (3.0, 2.0, 2.0))
    expected = Predictor(net)(volume).labels
    torch.set_default_dtype(torch.float64)
    try:
        np.testing.assert_array_equal(Predictor(net)(volume).labels, expected)
    finally:
        torch.set_default_dtype(torch.float32)


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


SIDED = ("left_kidney", "spleen", "right_kidney")


class Sided(nn.Module):
    """An oracle of kidneys: bright voxels are the kidney of their half of the body."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, image: Tensor, tasks: list[str] | None = None) -> Tensor:
        right = torch.arange(image.shape[-1]) < image.shape[-1] / 2  # width runs right to left
        bright = image[:, 0] > 0
        found = {"left_kidney": bright & ~right, "right_kidney": bright & right}
        nothing = torch.zeros_like(bright)
        names = tasks or self.config.classes
        maps = torch.stack([found.get(name, nothing) for name in names], dim=1).float()
        if tasks:
            return 20 * torch.stack([maps, torch.zeros_like(maps)], dim=2) - 10
        if not self.config.exclusive:
            return 20 * maps - 10
        return 20 * torch.cat([1 - maps.sum(1, keepdim=True), maps], dim=1)


def sided_config(kind: str) -> ModelConfig:
    if kind == "tasks":
        tasks = tuple(Task(name, name, None, (1,)) for name in SIDED)
        return ModelConfig(tasks=tasks, preprocessing=CONTRACT)
    names = SIDED[:2] if kind == "one side" else SIDED
    return ModelConfig(
        architecture="segmenter",
        classes=names,
        exclusive=kind != "overlapping",
        class_values=tuple((value,) for value in range(1, len(names) + 1)),
        preprocessing=CONTRACT,
    )


@pytest.mark.parametrize("kind", ["exclusive", "overlapping", "tasks", "one side"])
def test_flips_leave_left_and_right_where_they_are(kind: str) -> None:
    array = np.full((8, 16, 16), -1000, np.int16)
    array[2:6, 6:10, 2:5] = array[2:6, 6:10, 11:14] = 200
    volume = Volume.with_spacing(array, CONTRACT.spacing)
    net = Sided(sided_config(kind))
    flipped = Predictor(net, flips=True)(volume)
    np.testing.assert_array_equal(flipped.labels, Predictor(net)(volume).labels)
    assert flipped.values["left_kidney"] == 1
    assert np.unique(flipped.labels[..., 8:]).tolist() == [0, 1]
    assert np.unique(flipped.labels[..., :8]).tolist() == ([0] if kind == "one side" else [0, 3])


def test_one_task_of_a_side_alone_is_not_mirrored_to_its_other() -> None:
    array = np.full((8, 16, 16), -1000, np.int16)
    array[2:6, 6:10, 2:5] = array[2:6, 6:10, 11:14] = 200
    net = Sided(sided_config("tasks"))
    found = Predictor(net, tasks=["left_kidney"], flips=True)(
        Volume.with_spacing(array, CONTRACT.spacing)
    )
    assert not found.labels[..., :8].any()
    assert found.labels[..., 8:].any()


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


def test_damaged_weights_are_not_taken_for_an_empty_scan() -> None:
    net = Tiny()
    with torch.no_grad():
        net.body[0].weight[0] = torch.nan
    with pytest.raises(ValueError, match="its weights are damaged"):
        Predictor(net)(Volume.with_spacing(body(), (3.0, 2.0, 2.0)))


def test_a_compiled_network_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_by = torch.compile
    monkeypatch.setattr(torch, "compile", lambda net: compile_by(net, backend="eager"))
    volume = Volume.with_spacing(body(), (4.0, 3.0, 3.0))
    plain, compiled = Predictor(Tiny()), Predictor(Tiny(), compiled=True)
    np.testing.assert_array_equal(compiled(volume).labels, plain(volume).labels)
    assert compiled.net.config == CONFIG


def test_what_torch_cannot_compile_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: object, inputs: object) -> None:
        raise RuntimeError("no compiler\nlong story")

    compile_by = torch.compile
    monkeypatch.setattr(torch, "compile", lambda net: compile_by(net, backend=broken))
    with pytest.raises(UserError, match=r"can't compile the network here .*leave out .*--compile"):
        Predictor(Tiny(), compiled=True)


def test_small_windows_are_predicted_two_at_a_time_if_that_is_left_open() -> None:
    assert Predictor(Tiny(), batch=None).batch == 2
    assert Predictor(Tiny(ModelConfig()), batch=None).batch == 1  # 64 x 256 x 256
    assert Predictor(Tiny(ModelConfig()), batch=3).batch == 3
    volume = Volume.with_spacing(body(), (4.0, 3.0, 3.0))
    one, two = (Predictor(Tiny(), batch=batch)(volume).labels for batch in (1, None))
    assert (one == two).mean() > 0.999
