"""Scoring a segmenter on held-out cases while it trains."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.case import Case
from mots_pretrained.evaluation.metrics import Scores, measure
from mots_pretrained.images.preprocess import lowest_value
from mots_pretrained.inference.sliding_window import sliding_window
from mots_pretrained.tasks import IGNORED


@torch.no_grad()
def score_case(net: Segmenter, case: Case, *, overlap: float = 0.5) -> dict[str, Scores]:
    """Return the Dice of every class on a case, at the contract's resolution, and false volumes.

    Args:
        net: The network, in evaluation mode; it stays on its device.
        case: A case with all classes labelled.
        overlap: Share of a window that the next one covers again.
    """
    config, device = net.config, next(net.parameters()).device
    image, target = np.asarray(case.image), np.asarray(case.target)  # of a stored case, read now

    def predict(windows: Tensor) -> Tensor:
        logits = net(windows.to(device))
        return logits.softmax(1) if config.exclusive else logits.sigmoid()

    planes = [
        (slab.argmax(0, keepdim=True) if config.exclusive else slab > 0.5).numpy()
        for _, slab in sliding_window(
            torch.from_numpy(image),
            predict,
            window=config.preprocessing.window,
            overlap=overlap,
            pad=lowest_value(config.preprocessing),
        )
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
