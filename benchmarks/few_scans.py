"""What benchmarks of fine-tuning share: phantoms on a contract, scores, paired differences."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import mots_pretrained as mots
from mots_pretrained.data.case import Case, make_case
from mots_pretrained.evaluation.compare import Difference, compare, paired
from mots_pretrained.evaluation.results import Results
from mots_pretrained.images.reading import read_channels, read_labels
from mots_pretrained.inference.network import Network
from mots_pretrained.phantom.collections import write_collection
from mots_pretrained.tasks import BRATS_MODALITIES, BRATS_REGIONS
from mots_pretrained.training.validation import score_case

ORGANS = {name: (value,) for value, name in enumerate(mots.BCV_ORGANS, start=1)}

BRAIN_REGIONS = tuple(BRATS_REGIONS)

COARSE = {"bcv": (24, 32, 32), "brats": (24, 40, 40)}
"""Voxels of phantoms that only show that a benchmark runs."""

_SHAPE = {"bcv": None, "brats": (78, 120, 120)}


def phantoms(
    kind: Literal["bcv", "brats"],
    count: int,
    contract: mots.Preprocessing,
    *,
    seed: int,
    quick: bool,
) -> list[Case]:
    """Return phantoms in a collection's layout, brought to a contract."""
    classes = ORGANS if kind == "bcv" else BRATS_REGIONS
    found = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        shape = COARSE[kind] if quick else _SHAPE[kind]
        for case in write_collection(kind, folder, cases=count, seed=seed, shape=shape):
            scan = read_channels([folder / image for image in case.images])
            labels = read_labels(folder / str(case.label)).array
            found.append(make_case(scan, labels, contract, classes, name=case.identifier))
    return found


def brain_contract(contract: mots.Preprocessing, *, quick: bool) -> mots.Preprocessing:
    """Return what mots finetune makes of a CT contract for four MRI channels, at 2 mm."""
    spacing = contract.spacing if quick else (2.0, 2.0, 2.0)
    return dataclasses.replace(
        contract, channels=BRATS_MODALITIES, intensity="zscore", spacing=spacing
    )


def scored(network: Network, cases: Sequence[Case]) -> Results:
    """Return the Dice of every class of unseen cases, at the contract's resolution."""
    results = Results(network.config.classes)
    for number, case in enumerate(cases):
        results.add(f"unseen {number}", score_case(network, case, overlap=0.25))
    return results


def difference(first: Results, second: Results) -> Difference:
    """Compare the mean Dice of two ways over cases, of each the mean over common seeds."""
    return compare(*paired(first, second))[-1]
