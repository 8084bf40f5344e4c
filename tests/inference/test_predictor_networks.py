"""Predicting with any network: regions, flips, compiled or damaged ones, plain functions."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from tiny_predictors import CONFIG, CONTRACT, Threshold, Tiny, body, segmenter
from torch import Tensor, nn

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference import Predictor
from mots_pretrained.tasks import BRATS_REGIONS, Task


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


def test_an_organ_that_its_labels_part_from_its_tumour_is_measured_without_it() -> None:
    task = Task("gallbladder", "gallbladder", "gallbladder_tumour", (4,), (5,))

    class Parted:
        """Finds the organ in bright voxels and its tumour in the brightest, as trained to."""

        config = ModelConfig(tasks=(task,), preprocessing=CONTRACT)

        def __call__(self, image: Tensor, tasks: list[str]) -> Tensor:
            tumour = image > 0.7
            return 20 * torch.stack([(image > 0) & ~tumour, tumour], dim=2).float() - 10

    array = np.full((8, 16, 16), -1000, np.int16)
    array[2:6, 4:8, 4:8], array[2:6, 8:10, 4:8] = 100, 300
    found = Predictor(Parted())(Volume.with_spacing(array, CONTRACT.spacing))
    expected = {"gallbladder": 64 * 0.036, "gallbladder_tumour": 32 * 0.036}
    assert found.volumes == pytest.approx(expected)
    assert found.mask_volumes == pytest.approx(expected)


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
