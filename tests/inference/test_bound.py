"""Bounded memory: the same result, in whichever form it fits, and a plain word where none does."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from mots_pretrained.config import EncoderConfig, ModelConfig, Preprocessing
from mots_pretrained.errors import UserError
from mots_pretrained.images.preprocess import PlaneStream
from mots_pretrained.images.resample import resample
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference import Predictor
from mots_pretrained.inference import predictor as module
from mots_pretrained.inference.bound import _FORMS, Bound, Work

CONTRACT = Preprocessing(spacing=(4.0, 3.0, 3.0), window=(8, 16, 16), patch=(8, 16, 16))
MRI = dataclasses.replace(CONTRACT, channels=("t1", "t2"), intensity="zscore")
LARGE = Work(
    scan=2 * 1000 * 512 * 512, shape=(1000, 512, 512), size=(1000, 512, 512),
    window=(64, 256, 256), channels=1, maps=11, result=3, keeps=False, flips=False, cleans=False,
)  # fmt: skip


class Tiny(nn.Module):
    """A small random network: seven tasks, or a segmenter of three classes."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.config, self.count = config, len(config.classes) + 1 if config.classes else 14
        channels = len(config.preprocessing.channels)
        self.body = nn.Sequential(nn.Conv3d(channels, self.count, 3, padding=1), nn.Tanh())

    def forward(self, image, tasks=None):
        logits = 3 * self.body(image)
        return logits.unflatten(1, (7, 2)) if tasks else logits


NETWORKS = {
    "tasks": ModelConfig(preprocessing=CONTRACT),
    "classes": ModelConfig(
        preprocessing=MRI,
        encoder=EncoderConfig(in_channels=2),
        architecture="segmenter",
        classes=("a", "b"),
    ),
}


def scan(shape: tuple[int, int, int], channels: int) -> Volume:
    rng = np.random.default_rng(5)
    coarse = rng.normal(0, 300, (channels, *(n // 4 + 2 for n in shape)))
    array = np.stack([resample(part, shape) for part in coarse]).astype(np.int16)
    return Volume.with_spacing(array[0] if channels == 1 else array, (2.5, 2.0, 1.7))


@pytest.mark.parametrize("form", _FORMS[1:], ids=lambda form: "+".join(sorted(form)))
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("shape", [(37, 41, 30), (9, 41, 9), (80, 17, 50)])
def test_every_form_gives_the_same_to_the_bit(form, network, flips, shape, monkeypatch, tmp_path):
    config = NETWORKS[network]
    volume = scan(shape, len(config.preprocessing.channels))
    settings = {"flips": flips, "probabilities": True, "overlap": 0.4, "batch": 2}
    if network == "tasks":
        settings["postprocess"] = True
    plain = Predictor(Tiny(config), **settings)(volume)
    predictor = Predictor(Tiny(config), **settings, scratch=tmp_path)
    monkeypatch.setattr(predictor, "_away", lambda volume: form)
    bounded = predictor(volume)
    assert len(np.unique(plain.labels)) > 2
    np.testing.assert_array_equal(bounded.labels, plain.labels)
    np.testing.assert_array_equal(bounded.probabilities, plain.probabilities)
    assert bounded.volumes == plain.volumes
    assert bounded.mask_volumes == plain.mask_volumes
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("network", "shape", "size", "result"),
    [
        ("tasks", (37, 41, 30), (23, 27, 17), 1 + 11 * 4 / 30),  # 4 bytes a row of 30
        ("tasks", (9, 41, 9), (8, 27, 16), 1 + 11 * 2 / 9),  # filled up to a window
        ("classes", (37, 41, 30), (23, 27, 17), 1),
    ],
)
def test_what_is_reckoned_with_is_the_prepared_scan(network, shape, size, result, monkeypatch):
    seen = []
    monkeypatch.setattr(Work, "away", lambda self, *_: seen.append(self) or frozenset())
    predictor = Predictor(Tiny(NETWORKS[network]), max_ram=1e3)
    volume = scan(shape, len(predictor.config.preprocessing.channels))
    _, image = predictor.prepare(volume)
    assert tuple(map(max, image.shape[1:], predictor.config.preprocessing.window)) == size
    assert [(work.shape, work.size) for work in seen] == [(shape, size)]
    assert seen[0].result == pytest.approx(result)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_large_ct_is_prepared_as_its_windows_come(network, monkeypatch):
    config = NETWORKS[network]
    volume = scan((37, 41, 30), len(config.preprocessing.channels))
    predictor = Predictor(Tiny(config))
    plain = predictor(volume)
    monkeypatch.setattr(module, "_LARGE", 1000)
    _, image = predictor.prepare(volume)
    assert isinstance(image, PlaneStream) == (network == "tasks")  # z-scores need floats anyway
    bounded = Predictor(Tiny(config), max_ram=1e3)
    assert bounded._away(volume) == predictor._away(volume)
    np.testing.assert_array_equal(predictor(volume).labels, plain.labels)
    assert len(np.unique(plain.labels)) > 2


def test_the_quickest_form_that_fits_is_taken():
    bound = Bound(0, 10**8, 10**9)
    peaks = [LARGE.peak(bound, form) for form in _FORMS]
    assert sorted(peaks, reverse=True) == peaks
    # the image in single precision 1.05 GB, of which 0.24 stay; label map and masks 0.79 GB; a
    # slab of 11 x 64 x 512 x 512 0.74 GB, of which half stays
    assert peaks[0] - peaks[1] == pytest.approx(1.05e9 - 0.24e9, abs=0.05e9)
    assert peaks[1] - peaks[2] == pytest.approx(0.79e9, abs=0.05e9)
    assert peaks[2] - peaks[3] == pytest.approx(0.37e9, abs=0.05e9)
    for peak, form in zip(peaks, _FORMS, strict=True):
        assert LARGE.away(dataclasses.replace(bound, limit=peak), "ct") == form
    anyway = frozenset({"image"})
    assert LARGE.away(dataclasses.replace(bound, limit=peaks[0]), "ct", anyway) == anyway
    with pytest.raises(UserError, match=r"ct needs at least \d\.\d GB, .*--max-ram.* is 1: 1\.1"):
        LARGE.away(dataclasses.replace(bound, limit=1e9), "ct")


def test_the_issue_s_scan_fits_into_6_gb():
    """The paper's contract, eleven categories, and a network of 1.6 GB a window."""
    assert LARGE.peak(Bound(6e9, 7 * 10**8, 16 * 10**8), _FORMS[-1]) < 4e9


@pytest.mark.parametrize("gigabytes", [0, -1, float("nan"), float("inf")])
def test_a_bound_is_a_number_above_0(gigabytes):
    with pytest.raises(UserError, match="above 0"):
        Predictor(Tiny(NETWORKS["tasks"]), max_ram=gigabytes)


CHILD = """
import json, sys, hashlib
import numpy as np, torch
from torch import nn
from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.images.volume import Volume
from mots_pretrained.images import resample
from mots_pretrained.inference import Predictor, bound, predictor
from mots_pretrained.memory import _status, held_bytes
from mots_pretrained.stages import forget_peak

torch.set_num_threads(1)
resample.CHUNK = 1 << 20  # of so small a scan it would be nearly all
bound.VOXELS_AT_ONCE = predictor.VOXELS_AT_ONCE = 1 << 18
predictor._LARGE = 1 << 40  # a whole image lies in memory, unless the form says otherwise
contract = Preprocessing(spacing=(2.0, 1.0, 1.0), window=(16, 64, 64), patch=(16, 64, 64))

class Net(nn.Module):
    config = ModelConfig(preprocessing=contract)
    def forward(self, image, tasks):
        slope = torch.sin(torch.arange(14.0)).view(1, 7, 2, 1, 1, 1)
        return 12 * image[:, :, None] * slope

limits = []
def away(self, bound, name, anyway):
    limits.append(self.peak(bound, form))
    return form

before = held_bytes()
form = None if sys.argv[1] == "none" else bound._FORMS[int(sys.argv[1])]
bounded = {} if form is None else {"max_ram": 1}
predictor = Predictor(Net(), overlap=0.25, scratch=sys.argv[2], **bounded)
bound.Work.away = away
rng = np.random.default_rng(0)
scan = np.repeat(rng.integers(-400, 400, (100, 64, 64), dtype=np.int16), 4, 1).repeat(4, 2)
scan = np.concatenate([scan] * 6)
forget_peak()
found = predictor(Volume.with_spacing(scan, contract.spacing))
digest = hashlib.sha256(found.labels)
digest.update(str(found.mask_volumes).encode())
limit = None if form is None else max(limits) - before
added = {"added": _status("VmHWM") - before, "limit": limit}
print(json.dumps({**added, "digest": digest.hexdigest()}))
"""


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is bounded on Linux only")
def test_every_form_stays_below_its_estimate(tmp_path):
    def run(form: str) -> dict[str, float]:
        words = [sys.executable, "-c", CHILD, form, str(tmp_path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-500:]
        return json.loads(done.stdout)

    plain = run("none")
    for form in range(len(_FORMS)):
        bounded = run(str(form))
        assert bounded["digest"] == plain["digest"]
        assert bounded["added"] < bounded["limit"]
    assert bounded["limit"] < plain["added"]
