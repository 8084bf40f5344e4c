"""Scoring a network while and after it trains: held-out cases, and phantoms it has not seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.patches import Case
from mots_pretrained.data.preprocess import lowest_value
from mots_pretrained.evaluation.dice import Rule, dice
from mots_pretrained.evaluation.table import Table
from mots_pretrained.inference.predictor import Predictor
from mots_pretrained.inference.sliding_window import sliding_window
from mots_pretrained.model.pretrained import Pretrained
from mots_pretrained.phantom import torso
from mots_pretrained.phantom.collections import bcv_label, source_label
from mots_pretrained.tasks import BCV_ORGANS, IGNORED, Task
from mots_pretrained.volume import Volume

OnCase = Callable[[int, int], None]
"""Told how many cases are done, of how many."""


@torch.no_grad()
def score_case(net: Segmenter, case: Case, *, overlap: float = 0.5) -> dict[str, float | None]:
    """Return the Dice of every class on a case, at the contract's resolution.

    Args:
        net: The network, in evaluation mode; it stays on its device.
        case: A case with all classes labelled.
        overlap: Share of a window that the next one covers again.
    """
    config, device = net.config, next(net.parameters()).device

    def predict(windows: Tensor) -> Tensor:
        logits = net(windows.to(device))
        return logits.softmax(1) if config.exclusive else logits.sigmoid()

    planes = [
        (slab.argmax(0, keepdim=True) if config.exclusive else slab > 0.5).numpy()
        for _, slab in sliding_window(
            torch.from_numpy(case.image),
            predict,
            window=config.preprocessing.window,
            overlap=overlap,
            pad=lowest_value(config.preprocessing),
        )
    ]
    found = np.concatenate(planes, axis=1)
    found[:, (case.target == IGNORED).any(axis=0)] = 0  # neither right nor wrong
    if config.exclusive:
        return {
            name: dice(found[0] == value, case.target[0] == value)
            for value, name in enumerate(config.classes, start=1)
        }
    return {
        name: dice(mask, true == 1)
        for name, mask, true in zip(config.classes, found, case.target, strict=True)
    }


def score_phantoms(
    net: Pretrained,
    *,
    cases: int = 14,
    seed: int = 0,
    device: str = "cpu",
    randomise: float = 0.0,
    rule: Rule = "standard",
    on_case: OnCase | None = None,
) -> Table:
    """Run a network over phantoms that no pretraining of ours has seen, and score it.

    A network of MOTS tasks gets the seven collections' look-alikes in turn, and each case is
    scored where its own collection labels it. A segmenter of BCV's organs gets scans like BCV's.

    Args:
        net: The network.
        cases: How many; 14 are two of each collection.
        seed: Other seeds give other phantoms.
        device: Where the network runs.
        randomise: How far they leave the plausible, 0 to 1.
        rule: How empty masks are scored.
        on_case: Called after each case.

    Raises:
        ValueError: If there is no case, or phantoms have no truth for the segmenter's classes.
    """
    if cases < 1:
        raise ValueError(f"evaluation needs at least 1 case, not {cases}")
    known = net.config.classes or None
    if known is not None and not {*known} <= {*BCV_ORGANS}:
        strange = next(name for name in known if name not in BCV_ORGANS)
        raise ValueError(f"phantoms have no truth for the class {strange!r}; score files instead")
    tasks = net.config.tasks
    table = Table(known or tuple(name for task in tasks for name in task.categories), rule)
    spacing = net.config.preprocessing.spacing
    for index in range(cases):
        task = tasks[index % len(tasks)] if known is None else None
        domain = task.name if task else ("liver", "spleen", "pancreas")[index % 3]
        phantom = torso(
            int(np.random.default_rng([seed, 4, index]).integers(2**31)),
            domain=domain,
            spacing=spacing,
            randomise=randomise,
        )
        predictor = Predictor(net, device=device, tasks=[task.name] if task else None)
        prediction = predictor(Volume.with_spacing(np.rint(phantom.image), spacing))
        truth = _truth(phantom.labels, task)
        scores = {name: dice(prediction.mask(name), mask, rule=rule) for name, mask in truth.items()
                  if name in table.categories}  # fmt: skip
        table.add(f"{domain} {index}", scores)
        if on_case is not None:
            on_case(index + 1, cases)
    return table


def _truth(labels: np.ndarray, task: Task | None) -> dict[str, np.ndarray]:
    """Return the masks that a phantom is scored by: its task's, or BCV's organs."""
    if task is None:
        organs = bcv_label(labels)
        return {name: organs == value for value, name in enumerate(BCV_ORGANS, start=1)}
    drawn = source_label(labels, task)
    masks: dict[str, np.ndarray] = {}
    if task.organ is not None:
        masks[task.organ] = np.isin(drawn, task.organ_values)
    if task.tumour is not None:
        masks[task.tumour] = np.isin(drawn, task.tumour_values)
    return masks
