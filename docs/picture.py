"""Draw docs/phantom.png: two phantoms that no training saw, their truth, and what is found.

    python docs/picture.py

They are the first two of the test's seed 0, whatever they look like.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import mots_pretrained as mots
from mots_pretrained.phantom import torso
from mots_pretrained.phantom.collections import source_label
from mots_pretrained.report.side_by_side import ComparedCase, draw_side_by_side

MODEL = "transdodnet.phantom"


def main() -> None:
    """Predict and draw."""
    net = mots.load(MODEL)
    values = {name: own[0] for name, own in net.config.label_values.items()}
    spacing = net.config.preprocessing.spacing
    cases = []
    for index, domain in enumerate(("liver", "kidney")):
        seed = int(np.random.default_rng([0, 4, index]).integers(2**31))
        phantom = torso(seed, domain=domain, spacing=spacing)
        truth = np.zeros(phantom.labels.shape, np.uint8)
        for tumours in (False, True):  # which win, as in a prediction
            for task in net.config.tasks[:: -1 if tumours else 1]:  # the liver's own tumours last
                drawn = source_label(phantom.labels, task)
                name, own = (
                    (task.tumour, task.tumour_values)
                    if tumours
                    else (task.organ, task.organ_values)
                )
                if name in values:
                    truth[np.isin(drawn, own)] = values[name]
        scan = mots.Volume.with_spacing(np.rint(phantom.image), spacing)
        found = mots.Predictor(net)(scan).labels
        labels = {"truth": truth, MODEL: found}
        cases.append(ComparedCase(f"phantom {index + 1}", phantom.image, labels, spacing))
    draw_side_by_side(cases, Path(__file__).with_name("phantom.png"), values=values)


if __name__ == "__main__":
    main()
