"""Scoring a segmenter on held-out cases while it trains."""

from __future__ import annotations

import numpy as np
import torch

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.case import Case
from mots_pretrained.evaluation.metrics import Scores, measure
from mots_pretrained.inference.network import Precision, Probabilities
from mots_pretrained.inference.sliding_window import THRESHOLD, sliding_window
from mots_pretrained.tasks import IGNORED


def score_case(
    net: Segmenter, case: Case, *, overlap: float = 0.5, precision: Precision = "float32"
) -> dict[str, Scores]:
    """Return the Dice of every class on a case, at the contract's resolution, and false volumes.

    Args:
        net: The network, in evaluation mode; it stays on its device.
        case: A case with all classes labelled.
        overlap: Share of a window that the next one covers again.
        precision: What the network computes in, as `Predictor` takes it.
    """
    config, network = net.config, Probabilities(net, precision=precision)
    image, target = np.asarray(case.image), np.asarray(case.target)  # of a stored case, read now
    slabs = sliding_window(
        torch.from_numpy(image), network, window=config.preprocessing.window, overlap=overlap
    )
    planes = [
        (slab.argmax(0, keepdim=True) if config.exclusive else slab > THRESHOLD).numpy()
        for _, slab in map(network.checked, slabs)
    ]
    found = np.concatenate(planes, axis=1)
    found[:, (target == IGNORED).any(axis=0)] = 0  # neither right nor wrong
    spacing, scores = config.preprocessing.spacing, {}
    for index, name in enumerate(config.classes):
        if config.exclusive:
            mask, true = found[0] == index + 1, target[0] == index + 1
        else:
            mask, true = found[index], target[index] == 1
        scores[name] = measure(mask, true, spacing=spacing, metrics=("dice",))
    return scores
