"""Small scans with label maps in folders, and the shortest fine-tuning."""

import numpy as np

from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.training.recipe import Recipe

SHORT = Recipe(steps=2, batch=1)


def pair(root, name, image, label, spacing=(12.0, 12.0, 12.0), folders=("images", "labels")):
    for folder, array, dtype in zip(folders, (image, label), (np.int16, np.uint8), strict=True):
        (root / folder).mkdir(parents=True, exist_ok=True)
        volume = Volume.with_spacing(array, spacing)
        write_like(root / folder / name, array, volume, dtype=dtype)


def scan(seed=0, shape=(32, 32, 32)):
    return np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)
