import numpy as np
from scipy import ndimage

from mots_pretrained.phantom import torso


def _under_the_back(seed: int) -> float:
    """The brightest of what lies behind a patient, in HU."""
    phantom = torso(seed, shape=(8, 150, 120), spacing=(4.0, 4.0, 4.0))
    image = phantom.image[2:6]
    pieces, _ = ndimage.label(ndimage.binary_opening(image > -300, np.ones((1, 3, 3))))
    body = pieces == np.bincount(pieces[pieces > 0]).argmax()
    last = np.flatnonzero(body.any(axis=(0, 2))).max()
    return float(image[:, last + 2 :].max())


def test_a_couch_lies_under_most_patients_and_shines_as_real_ones_do():
    """Real couches at 4x3x3 mm: up to -46 to +420 HU, once +800."""
    bright = np.array([_under_the_back(seed) for seed in range(8)])
    assert (bright > -400).mean() > 0.7
    assert -150 < np.median(bright) < 650
