"""A real four-channel brain: its label values become the three regions, and a step learns."""

import dataclasses

import numpy as np
import pytest
import torch

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.case import read_case
from mots_pretrained.data.layouts import CaseFiles, Collection
from mots_pretrained.data.patches import draw_start, extract
from mots_pretrained.losses import dice_ce
from mots_pretrained.model.pretrained import load_config_and_state
from mots_pretrained.tasks import BRATS_MODALITIES, BRATS_REGIONS
from mots_pretrained.training.downstream import describe
from mots_pretrained.training.recipe import Recipe


@pytest.fixture(scope="module")
def task(shared):
    folder = shared / "data" / "brats_TCGA-FG-6692"
    images = tuple(folder / f"TCGA-FG-6692_{name}.nii.gz" for name in ("t1", "t1c", "t2", "fla"))
    scan = CaseFiles("TCGA-FG-6692", images, folder / "TCGA-FG-6692_seg_simple.nii.gz")
    found = Collection(
        *("brain", folder, (scan,)), classes=dict(BRATS_REGIONS), channels=BRATS_MODALITIES
    )
    contract = load_config_and_state("transdodnet.phantom")[0].preprocessing
    return describe(found, contract, Recipe(steps=1))


def test_label_values_become_nested_regions(task):
    assert not task.exclusive
    assert task.contract.spacing == pytest.approx((1, 1, 1))
    case = read_case(task.scans[0], task.contract, task.targets)
    # Counted in the file: 2477 voxels of value 1, 20862 of 2 and 6840 of 4.
    assert case.target.sum(axis=(1, 2, 3), dtype=int).tolist() == [6840, 9317, 30179]
    assert (case.target[0] <= case.target[1]).all()
    assert (case.target[1] <= case.target[2]).all()
    for channel in case.image:
        brain = channel[channel != 0]
        assert brain.mean() == pytest.approx(0, abs=1e-3)
        assert brain.std() == pytest.approx(1, abs=1e-3)


@pytest.mark.long
def test_a_pretrained_network_learns_from_it(task):
    coarse = dataclasses.replace(
        task, contract=dataclasses.replace(task.contract, spacing=(4.0, 4.0, 4.0))
    )
    case = read_case(task.scans[0], coarse.contract, task.targets)
    start = draw_start(case, (32, 32, 32), np.random.default_rng(0), foreground=1.0)
    image, target = extract(case, start, (32, 32, 32))
    assert target.reshape(3, -1).any(axis=1).all()
    net = Segmenter.from_pretrained(
        "transdodnet.phantom",
        classes=tuple(BRATS_REGIONS),
        in_channels=4,
        exclusive=False,
        preprocessing=coarse.contract,
    )
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    losses = []
    for _ in range(2):
        logits = net(torch.from_numpy(image)[None])
        assert logits.shape == (1, 3, 32, 32, 32)
        loss = dice_ce(logits, torch.from_numpy(target)[None].float(), exclusive=False).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert losses[1] < losses[0]
