"""New organs beside the old: a head on the frozen backbone of a network with tasks."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch

from mots_pretrained.adaptation.extended import ExtendedNetwork, add_head, check_base
from mots_pretrained.adaptation.fit_head import PRIOR_OF_ADDED, fit_head
from mots_pretrained.adaptation.head_samples import OnFit
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.config import Preprocessing
from mots_pretrained.data.case import Case, read_case
from mots_pretrained.data.layouts import Classes, find_labelled
from mots_pretrained.data.layouts.collection import numbered
from mots_pretrained.errors import UserError
from mots_pretrained.files import write_bytes
from mots_pretrained.images.preprocess import NoAirWarning
from mots_pretrained.model.pretrained import Pretrained
from mots_pretrained.networks import load
from mots_pretrained.parse import check_listed
from mots_pretrained.training.downstream import check_same_input, describe
from mots_pretrained.training.finetune_folder import finetune_folder
from mots_pretrained.training.machine import exiting_on_sigterm
from mots_pretrained.training.processes import rank_and_count
from mots_pretrained.training.recipe import Recipe, Run
from mots_pretrained.training.validation import History
from mots_pretrained.weights.addition import ORGANS_FILE


def add_organs(
    net: str | Path | Pretrained,
    cases: str | Path | Sequence[Case],
    *,
    classes: Sequence[str] | Mapping[str, int | Sequence[int]] = (),
    intensity: Literal["ct", "zscore"] | None = None,
    steps: int = 2500,
    seed: int = 0,
    on_fit: OnFit | None = None,
) -> ExtendedNetwork:
    """Teach a network with tasks further organs from a few labelled scans; nothing old changes.

    A head on all levels is fitted on the frozen backbone. The old tasks' logits stay what they
    were, to the bit.

    Args:
        net: Name, folder or Hub repository of a network with tasks, or the network, whose weights
            are shared; one with organs added gets more.
        cases: Folder of labelled scans in a layout of ``find_labelled``, a data list of MONAI, or
            cases on the network's contract with one target channel of class values.
        classes: Names of the organs: of cases needed, in the order of their values; of a folder
            that names them not, or there a dict of their label values, ``{"aorta": 7}``.
        intensity: What the scans of a folder are, clipped CT numbers or z-scores; told by the
            folder by default.
        steps: Fitting steps.
        seed: Random seed for voxels and fitting.
        on_fit: Callback as of :func:`fit_head`.

    Returns:
        The extended network in evaluation mode; ``save_organs(path)`` writes the small file.

    Raises:
        UserError: If the network shares no features between tasks, a name is taken, cases do not
            keep the contract or hold other values than ``classes``, or a folder's classes overlap;
            if ``intensity`` or label values are given with cases, which are on the contract and
            numbered already.

    Example:
        >>> net = add_organs("transdodnet.phantom", "aortas")  # doctest: +SKIP
        >>> net.save_organs("aorta.safetensors")  # doctest: +SKIP
        >>> mots.Predictor(net)("ct.nii.gz").label_values["aorta"]  # doctest: +SKIP
        (12,)
    """
    check_listed("classes", classes)
    network = net if isinstance(net, Pretrained) else load(net)
    base, contract = check_base(network), network.config.preprocessing
    values = _label_values(classes)
    if isinstance(cases, str | Path):
        cases, values = _read_folder(cases, contract, values, intensity)
    elif intensity is not None:
        raise UserError("intensity says what a folder's scans are; with cases leave it out")
    elif isinstance(classes, Mapping):
        raise UserError(
            "a dict of classes says which label values a folder's have; with cases give a list of "
            "names, in the order of their values 1, 2, ..."
        )
    if not values:
        raise UserError("say what the classes of the cases are called: classes=[...]")
    with torch.random.fork_rng(devices=[]):
        segmenter = Segmenter.from_scratch(network.config, classes=tuple(values), head="levels")
    segmenter.config = dataclasses.replace(segmenter.config, class_values=tuple(values.values()))
    segmenter.to(next(base.parameters()).device)
    segmenter.backbone = base.backbone
    was_training = base.training
    try:
        fit_head(segmenter, cases, steps=steps, prior=PRIOR_OF_ADDED, seed=seed, on_fit=on_fit)
    finally:
        base.train(was_training)
    return add_head(network, segmenter).eval()


def _label_values(classes: Sequence[str] | Mapping[str, int | Sequence[int]]) -> Classes:
    """Return the label values of each class: those that are given, or 1, 2, ... of mere names."""
    if not isinstance(classes, Mapping):
        return numbered(tuple(classes))
    return {
        name: tuple(own) if isinstance(own, Sequence) else (own,) for name, own in classes.items()
    }


def _read_folder(
    folder: str | Path,
    contract: Preprocessing,
    classes: Classes,
    intensity: Literal["ct", "zscore"] | None,
) -> tuple[list[Case], Classes]:
    """Read a folder's labelled scans, and tell the label values of their classes."""
    recipe = Recipe(
        steps=1,
        classes=tuple(classes),
        class_values=tuple(classes.values()),
        intensity=intensity,
    )
    task = describe(find_labelled(folder), contract, recipe)
    check_same_input(task, contract)
    with warnings.catch_warnings():
        if intensity == "ct":  # one without air was clipped then
            warnings.simplefilter("ignore", NoAirWarning)
        return [read_case(scan, contract, task.targets) for scan in task.scans], task.classes


def add_organs_folder(
    data: str | Path, output: str | Path, recipe: Recipe, *, run: Run | None = None
) -> History:
    """Learn organs that a folder labels, and write the extended network or their small file.

    Args:
        data: As of :func:`finetune_folder`.
        output: Folder for the extended network with its records, and in it the small file
            ``organs.safetensors``; or a file ``NAME.safetensors``, which then is all. Either
            file holds the hashes of the scans that it was learned from.
        recipe: With ``train="add"`` and the network to add to as ``start``.
        run: Where and for how long.

    Raises:
        UserError: As of :func:`finetune_folder`; if the file is there already.
    """
    output = Path(output)
    if output.suffix != ".safetensors":
        return finetune_folder(data, output, recipe, run=run)
    if output.exists():
        raise UserError(f"{output} is there already; choose another file, or remove it")
    if rank_and_count(os.environ)[1] > 1:
        raise UserError("several processes share a folder; give one in place of a file")
    if run is not None and run.resume:
        raise UserError("a single file is learned in one go; give a folder to resume")
    there = next(place for place in output.absolute().parents if place.is_dir())
    with (
        exiting_on_sigterm(),  # so that nothing is left
        tempfile.TemporaryDirectory(prefix=".organs_", dir=there) as scratch,  # on the same disk
    ):
        history = finetune_folder(data, Path(scratch) / "out", recipe, run=run)
        output.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(output, (Path(scratch) / "out" / ORGANS_FILE).read_bytes())
    return history
