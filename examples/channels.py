"""Four MRI channels and nested regions from weights that have only seen CT, as the paper's BraTS.

    python examples/channels.py

With real scans: ``read_channels([t1, t1ce, t2, flair])`` and the label map of ``read_volume``.
"""

import dataclasses

import numpy as np
import torch

import mots_pretrained as mots
from mots_pretrained.data.case import make_case
from mots_pretrained.data.patches import draw_start, extract
from mots_pretrained.losses import dice_ce
from mots_pretrained.phantom import brain
from mots_pretrained.tasks import BRATS_MODALITIES, BRATS_REGIONS

PATCH = (32, 64, 64)


def main() -> dict[str, float]:
    ct = mots.MOTSBackbone.from_pretrained("transdodnet.phantom").config.preprocessing
    contract = dataclasses.replace(ct, channels=BRATS_MODALITIES, intensity="zscore")

    phantom = brain(0, grade="HGG", shape=(64, 96, 96))
    scan = mots.Volume.with_spacing(phantom.images, phantom.spacing)
    case = make_case(scan, phantom.labels, contract, BRATS_REGIONS, exclusive=False)
    start = draw_start(case, PATCH, np.random.default_rng(0), foreground=1.0)
    patch, regions = extract(case, start, PATCH)
    image, target = torch.from_numpy(patch)[None], torch.from_numpy(regions)[None].float()

    losses = {}
    for init in ("random", "first", "mean", "first_scaled", "zero_new"):
        torch.manual_seed(0)
        model = mots.Segmenter.from_pretrained(
            "transdodnet.phantom",
            classes=list(BRATS_REGIONS),
            in_channels=4,
            channel_init=init,  # "first" is the paper's way
            exclusive=False,  # one sigmoid a region, as they are nested
            preprocessing=contract,
        )
        with torch.inference_mode():
            losses[init] = dice_ce(model(image), target, exclusive=False).total.item()
            scale = model.backbone.encoder.stem[0](image).std().item()
        print(f"{init:12} first activations' deviation {scale:.3f}, loss {losses[init]:.3f}")
    return losses


if __name__ == "__main__":
    main()
