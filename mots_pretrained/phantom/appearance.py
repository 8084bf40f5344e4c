"""CT numbers of every tissue in every contrast phase, and what scanner and kernel make of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mots_pretrained.phantom.space import Floats, Grid

PHASES: tuple[str, ...] = ("native", "arterial", "portal", "delayed")
"""Contrast phases; a case's own phase may lie between two of them."""

# Tissue: native HU, its spread between people, texture, then the enhancement (HU over native) in
# the arterial, portal venous and delayed phase.
TISSUES: dict[str, tuple[float, float, float, float, float, float]] = {
    "air": (-1000, 0, 0, 0, 0, 0),
    "skin": (30, 15, 0, 5, 10, 10),
    "fat": (-103, 8, 5, 0, 0, 0),
    "visceral_fat": (-98, 9, 8, 1, 2, 2),
    "muscle": (52, 7, 6, 5, 12, 12),
    "lean_muscle": (42, 10, 10, 5, 12, 12),
    "spongiosa": (190, 60, 35, 8, 12, 10),
    "cortical_bone": (560, 120, 60, 0, 0, 0),
    "disc": (85, 15, 5, 3, 6, 8),
    "cartilage": (105, 25, 20, 2, 4, 4),
    "cord": (32, 6, 2, 2, 4, 4),
    "lung": (-845, 40, 22, 5, 8, 6),
    "fissure": (-700, 40, 5, 0, 0, 0),
    "bronchus": (-960, 20, 0, 0, 0, 0),
    "lung_vessel": (40, 8, 0, 190, 110, 80),
    "blood": (42, 5, 0, 0, 0, 0),
    "artery": (42, 5, 0, 250, 115, 80),
    "vein": (42, 5, 0, 55, 105, 82),
    "portal_vein": (42, 5, 0, 85, 132, 88),
    "hepatic_vessel": (42, 5, 0, 30, 116, 82),
    "heart_chamber": (42, 5, 4, 200, 108, 80),
    "myocardium": (48, 5, 4, 55, 55, 45),
    "liver": (55, 6, 5, 13, 58, 46),
    "spleen": (48, 5, 4, 78, 74, 52),
    "renal_cortex": (33, 4, 4, 135, 132, 105),
    "renal_medulla": (32, 4, 4, 40, 112, 108),
    "urine": (6, 5, 0, 0, 8, 260),
    "pancreas": (40, 7, 9, 68, 56, 36),
    "adrenal": (25, 10, 2, 40, 45, 32),
    "bile": (10, 6, 2, 0, 1, 2),
    "gallbladder_wall": (35, 8, 0, 20, 35, 30),
    "bowel_wall": (38, 6, 4, 38, 52, 36),
    "stomach_wall": (40, 6, 4, 38, 48, 36),
    "oesophagus_wall": (40, 6, 4, 28, 38, 30),
    "bowel_fluid": (15, 12, 12, 0, 0, 0),
    "stomach_fluid": (20, 14, 12, 0, 0, 0),
    "faeces": (35, 35, 60, 0, 0, 0),
    "bowel_gas": (-960, 40, 10, 0, 0, 0),
    "bladder_wall": (38, 6, 2, 18, 28, 30),
    "pelvic_organ": (45, 7, 8, 28, 52, 48),
    "lymph": (38, 6, 2, 18, 38, 32),
    "liver_tumour": (38, 8, 8, 12, 26, 30),
    "liver_tumour_bright": (42, 6, 8, 72, 38, 14),
    "liver_tumour_rim": (42, 6, 5, 40, 55, 42),
    "kidney_tumour": (34, 6, 14, 78, 64, 46),
    "pancreas_tumour": (36, 6, 6, 24, 34, 36),
    "colon_tumour": (42, 6, 8, 38, 54, 40),
    "lung_tumour": (36, 9, 14, 26, 36, 30),
    "necrosis": (22, 6, 5, 2, 5, 6),
    "cyst": (6, 6, 2, 0, 2, 3),
    "calcium": (420, 160, 40, 0, 0, 0),
    "couch": (-120, 70, 0, 0, 0, 0),
    "couch_core": (-880, 40, 0, 0, 0, 0),
}
_NAMES = tuple(TISSUES)
_TABLE = np.array(list(TISSUES.values()))
_BLOOD = [
    _NAMES.index(n)
    for n in ("artery", "vein", "portal_vein", "hepatic_vessel", "heart_chamber", "lung_vessel")
]


@dataclass(frozen=True)
class Scanner:
    """How a domain's scanner and protocol draw what they see.

    Attributes:
        phases: Probability of each of :data:`PHASES`.
        noise: Range of the noise's standard deviation in HU.
        slice_mm: Range of the reconstructed slice thickness in millimetres.
        blur_mm: Range of the in-plane point spread's full width at half maximum.
    """

    phases: tuple[float, float, float, float]
    noise: tuple[float, float]
    slice_mm: tuple[float, float]
    blur_mm: tuple[float, float]


class Look:
    """One scan's appearance: HU and texture of every tissue, drawn once.

    One common factor (12 %) scales all enhancement and a small one of its own (4 %) each tissue's,
    so that a vessel or a tumour keeps its contrast to the organ around it.
    """

    def __init__(self, rng: np.random.Generator, scanner: Scanner, randomise: float) -> None:
        # Randomisation knows every phase, the native one above all: real scans without contrast
        # hold organs that no collection of MOTS shows so.
        free = 0.5 * randomise
        phases = (1 - free) * np.array(scanner.phases) + free * np.array([0.4, 0.2, 0.2, 0.2])
        first = rng.choice(4, p=phases)
        weights = np.eye(4)[first]
        if rng.random() < 0.25 + 0.25 * randomise:  # between two phases
            share = rng.uniform(0, 0.4)
            weights = (1 - share) * weights + share * np.eye(4)[rng.integers(4)]
        self.phase = weights
        enhancement = _TABLE[:, 3:] @ weights[1:]
        enhancement *= np.clip(rng.normal(1, 0.12), 0.7, 1.4)
        enhancement *= np.clip(rng.normal(1, 0.04, len(_NAMES)), 0.8, 1.2)
        blood_common = rng.normal(0, 3)  # haematocrit
        hu = _TABLE[:, 0] + np.clip(rng.normal(size=len(_NAMES)), -2, 2) * _TABLE[:, 1]
        hu[_BLOOD] = 42 + blood_common
        hu += enhancement
        self.texture = _TABLE[:, 2] * rng.uniform(0.6, 1.5)
        if rng.random() < 0.22:  # fatty liver: the organ and what little its tumours share
            hu[_NAMES.index("liver")] -= rng.uniform(10, 45)
        oral = rng.random(2)
        if oral[0] < 0.3:  # oral contrast
            dose = rng.uniform(60, 320)
            hu[_NAMES.index("bowel_fluid")] += dose
            hu[_NAMES.index("stomach_fluid")] += dose * rng.uniform(0.3, 1.1)
            hu[_NAMES.index("faeces")] += dose * (0.5 if oral[1] < 0.4 else 0.0)
        if randomise > 0:
            self._randomise(rng, hu, randomise)
        self.hu = dict(zip(_NAMES, hu.tolist(), strict=True))
        self.grain = dict(zip(_NAMES, self.texture.tolist(), strict=True))
        self._scan(rng, scanner, randomise)

    def _randomise(self, rng: np.random.Generator, hu: np.ndarray, strength: float) -> None:
        """Tissue intensities far beyond the plausible (Billot et al. 2023)."""
        soft = (hu > -300) & (hu < 300)
        amount = strength * rng.uniform(0, 1)
        wild = 2.0 if rng.random() < 0.25 else 1.0
        own = rng.normal(0, 22 * wild, len(hu)) * amount
        # Lumen, lung and air stay what they are more or less; bone and soft tissue move freely.
        hu[soft] += own[soft] + rng.normal(0, 18) * amount
        middle, gain = rng.uniform(20, 90), np.exp(rng.normal(0, 0.25 * amount))
        hu[soft] = middle + (hu[soft] - middle) * gain
        hu[hu >= 300] *= np.exp(rng.normal(0, 0.3 * amount))
        hu[_NAMES.index("lung")] += rng.normal(0, 60) * amount
        self.texture = self.texture * np.exp(rng.normal(0, 0.6, len(hu)) * amount)
        self.texture[soft] += rng.exponential(4.0 * amount + 1e-6, soft.sum())

    def _scan(self, rng: np.random.Generator, scanner: Scanner, randomise: float) -> None:
        widen = np.exp(rng.normal(0, 0.6 * randomise, 3))
        self.noise = float(min(rng.uniform(*scanner.noise) * widen[0], 42))
        self.slice_mm = float(rng.uniform(*scanner.slice_mm) * widen[1])
        self.blur_mm = float(rng.uniform(*scanner.blur_mm) * widen[2])
        self.sharp = float(rng.uniform(0, 1))
        self.bias = float(rng.uniform(0, 4 + 10 * randomise))
        self.streak = float(rng.exponential(0.25 + 0.5 * randomise)) if rng.random() < 0.5 else 0.0
        self.gamma = float(np.exp(rng.normal(0, 0.15) * randomise))
        self.circle = bool(rng.random() < 0.25 + 0.2 * randomise)
        self.padding = float(rng.choice([-1024.0, -1024.0, -2000.0, -1000.0]))

    def scan(self, rng: np.random.Generator, grid: Grid, image: Floats) -> Floats:
        """Blur by point spread and slice profile, add noise, bias and streaks; in HU."""
        sigma = np.array([self.slice_mm, self.blur_mm, self.blur_mm]) / 2.355 / grid.spacing
        image = blur(image, np.minimum(sigma, 1.6))
        if self.gamma != 1.0:
            unit = np.clip((image + 325) * np.float32(1 / 650), 0, 1)
            image += (unit ** np.float32(self.gamma) - unit) * np.float32(650)
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        # A soft kernel correlates the noise, a sharp one hardly does.
        width = np.array([0.35, 0.75, 0.75]) * (1.15 - self.sharp)
        noise = blur(noise, width)
        noise *= np.float32(self.noise) / noise.std()
        if self.streak > 0:
            lines = rng.standard_normal((*image.shape[:2], 1), dtype=np.float32)
            # Photons starve along the wide axis of shoulders and hips.
            attenuation = np.clip((image + 200).mean(axis=2, keepdims=True) / 250, 0, 2)
            noise += lines * attenuation * np.float32(self.streak * self.noise * 0.6)
        image += noise
        if self.bias > 0:
            ramp = np.linspace(-1, 1, image.shape[2], dtype=np.float32) * rng.normal()
            tilt = np.linspace(-1, 1, image.shape[1], dtype=np.float32) * rng.normal()
            image += np.float32(self.bias) * (ramp + tilt[:, None])
        np.clip(image, -1024, 3071, out=image)
        if self.circle:
            radius = min(image.shape[1], image.shape[2]) / 2
            rows = np.arange(image.shape[1])[:, None] - (image.shape[1] - 1) / 2
            columns = np.arange(image.shape[2]) - (image.shape[2] - 1) / 2
            image[:, rows**2 + columns**2 > radius**2] = self.padding
        return image


def blur(image: Floats, sigma: NDArray[np.float64]) -> Floats:
    """Gaussian smoothing axis by axis; an axis with next to no width is left alone."""
    for axis, width in enumerate(sigma):
        if width > 0.2:
            image = ndimage.gaussian_filter1d(image, width, axis, truncate=2.5, mode="nearest")
    return image
