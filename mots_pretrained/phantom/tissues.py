"""CT numbers of every tissue in every contrast phase, and one scan's own draw of them."""

from __future__ import annotations

import numpy as np

PHASES: tuple[str, ...] = ("native", "arterial", "portal", "delayed")
"""Contrast phases; a case's own phase may lie between two of them."""

# Tissue: native HU, its spread between people, texture, then the enhancement (HU over native) in
# the arterial, portal venous and delayed phase.
TISSUES: dict[str, tuple[float, float, float, float, float, float]] = {
    "air": (-1000, 0, 0, 0, 0, 0),
    "skin": (30, 15, 0, 5, 10, 10),
    "fat": (-102, 6, 4, 0, 0, 0),
    "visceral_fat": (-99, 6, 6, 1, 2, 2),
    "muscle": (46, 8, 3.5, 3, 6, 7),
    "lean_muscle": (40, 9, 6, 3, 7, 8),
    "spongiosa": (125, 42, 26, 6, 9, 8),
    "cortical_bone": (560, 120, 60, 0, 0, 0),
    "disc": (85, 15, 5, 3, 6, 8),
    "cartilage": (105, 25, 20, 2, 4, 4),
    "cord": (32, 6, 2, 2, 4, 4),
    "lung": (-848, 34, 20, 5, 8, 6),
    "fissure": (-700, 40, 5, 0, 0, 0),
    "bronchus": (-960, 20, 0, 0, 0, 0),
    "lung_vessel": (40, 8, 0, 190, 110, 80),
    "blood": (42, 5, 0, 0, 0, 0),
    "artery": (42, 5, 0, 255, 102, 78),
    "vein": (42, 5, 0, 55, 105, 82),
    "portal_vein": (42, 5, 0, 85, 132, 88),
    "hepatic_vessel": (42, 5, 0, 30, 116, 82),
    "heart_chamber": (42, 5, 4, 200, 108, 80),
    "myocardium": (48, 5, 4, 55, 55, 45),
    "liver": (58, 6, 5, 6, 57, 46),
    "spleen": (46, 5, 3, 75, 69, 52),
    "renal_cortex": (29, 9, 3, 140, 190, 125),
    "renal_medulla": (29, 9, 3, 38, 158, 132),
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
    "kidney_tumour": (29, 7, 3, 88, 92, 62),
    "pancreas_tumour": (36, 6, 6, 24, 34, 36),
    "colon_tumour": (42, 6, 8, 38, 54, 40),
    "lung_tumour": (36, 9, 14, 26, 36, 30),
    "necrosis": (22, 6, 5, 2, 5, 6),
    "cyst": (6, 6, 2, 0, 2, 3),
    "dense_cyst": (55, 12, 2, 0, 0, 0),
    "calcium": (420, 160, 40, 0, 0, 0),
    "stone": (900, 300, 0, 0, 0, 0),
    "stent": (450, 150, 0, 0, 0, 0),
    "metal": (2500, 300, 0, 0, 0, 0),
    "couch": (480, 220, 0, 0, 0, 0),
    "mattress": (-850, 60, 0, 0, 0, 0),
    "couch_core": (-880, 40, 0, 0, 0, 0),
}
_NAMES = tuple(TISSUES)
_TABLE = np.array(list(TISSUES.values()))
_BLOOD = [
    _NAMES.index(n)
    for n in ("artery", "vein", "portal_vein", "hepatic_vessel", "heart_chamber", "lung_vessel")
]


class Look:
    """One scan's tissues: HU and texture of each, drawn once.

    One common factor scales all enhancement and a small one of its own each tissue's, so that a
    vessel or a tumour keeps its contrast to the organ around it.

    Args:
        rng: Source.
        phases: Probability of each of :data:`PHASES`, or the name of one.
        randomise: How far to widen the ranges, 0 to 1.

    Attributes:
        phase: Weights of :data:`PHASES`, which sum to 1.
        hu: CT number of each tissue.
        grain: Amplitude in HU of each tissue's texture.
    """

    def __init__(
        self, rng: np.random.Generator, phases: tuple[float, ...] | str, randomise: float
    ) -> None:
        self.phase = _phase(rng, phases, randomise)
        enhancement = _TABLE[:, 3:] @ self.phase[1:]
        enhancement *= np.clip(rng.normal(1, 0.12), 0.65, 1.45)
        enhancement *= np.clip(rng.normal(1, 0.05, len(_NAMES)), 0.8, 1.2)
        native = _TABLE[:, 0] + np.clip(rng.normal(size=len(_NAMES)), -2, 2) * _TABLE[:, 1]
        native[_BLOOD] = 42 + rng.normal(0, 3)  # haematocrit
        texture = _TABLE[:, 2] * rng.uniform(0.6, 1.5) * np.exp(rng.normal(0, 0.3, len(_NAMES)))
        _relate(rng, native, enhancement, texture)
        hu = native + enhancement
        if randomise > 0:
            _randomise(rng, hu, texture, randomise)
        self.hu: dict[str, float] = dict(zip(_NAMES, hu.tolist(), strict=True))
        self.grain: dict[str, float] = dict(zip(_NAMES, texture.tolist(), strict=True))


def _phase(
    rng: np.random.Generator, phases: tuple[float, ...] | str, randomise: float
) -> np.ndarray:
    """Draw a phase, or a point between two that follow each other."""
    if isinstance(phases, str):
        first = PHASES.index(phases)
    else:
        # Randomisation knows every phase, the native one above all: real scans without contrast
        # hold organs that no collection of MOTS shows so.
        free = 0.5 * randomise
        chance = (1 - free) * np.array(phases) + free * np.array([0.4, 0.2, 0.2, 0.2])
        first = int(rng.choice(4, p=chance))
    other = int(np.clip(first + rng.choice([-1, 1]), 0, 3))
    share = rng.uniform(0, 0.6 if other == 0 else 0.4) if rng.random() < 0.35 and first > 0 else 0.0
    return (1 - share) * np.eye(4)[first] + share * np.eye(4)[other]


def _relate(
    rng: np.random.Generator, native: np.ndarray, enhancement: np.ndarray, texture: np.ndarray
) -> None:
    """Tie together what hangs together in a patient, in place."""
    liver, spleen, cortex, medulla, tumour = (
        _NAMES.index(name)
        for name in ("liver", "spleen", "renal_cortex", "renal_medulla", "kidney_tumour")
    )
    native[spleen] = native[liver] - rng.normal(12, 2)
    native[medulla] = native[cortex] + rng.normal(0, 1.5)
    # Without contrast a tumour of the kidney is told by its bulge, hardly by its grey or grain.
    native[tumour] = native[cortex] + rng.normal(1, 4)
    texture[[cortex, medulla]] *= rng.uniform(1.5, 3.0) if rng.random() < 0.3 else 1.0
    enhancement[spleen] *= np.clip(rng.normal(1, 0.08), 0.8, 1.25)
    enhancement[tumour] *= rng.uniform(0.25, 0.55) if rng.random() < 0.3 else rng.uniform(0.7, 1.3)
    texture[tumour] += 0.08 * enhancement[tumour]  # it takes contrast unevenly
    enhancement[medulla] *= rng.uniform(0.74, 1.06)  # contrast comes to the medulla late
    if rng.random() < 0.15:  # fatty liver: the organ alone, its vessels stay
        native[liver] -= rng.uniform(10, 45)
    if rng.random() < 0.3:  # oral contrast
        dose = rng.uniform(60, 320)
        native[_NAMES.index("bowel_fluid")] += dose
        native[_NAMES.index("stomach_fluid")] += dose * rng.uniform(0.3, 1.1)
        native[_NAMES.index("faeces")] += dose * (0.5 if rng.random() < 0.4 else 0.0)


def _randomise(
    rng: np.random.Generator, hu: np.ndarray, texture: np.ndarray, strength: float
) -> None:
    """Widen the ranges of tissues in place; in a share far beyond life (Billot et al. 2023)."""
    soft = (hu > -300) & (hu < 300)
    wild = rng.random() < 0.15
    amount = strength * rng.uniform(0, 1) * (2.5 if wild else 1.0)
    # Lumen, lung and air stay what they are more or less; bone and soft tissue move freely.
    hu[soft] += (rng.normal(0, 12, len(hu)) * amount)[soft] + rng.normal(0, 8) * amount
    middle, gain = rng.uniform(20, 90), np.exp(rng.normal(0, 0.12 * amount))
    hu[soft] = middle + (hu[soft] - middle) * gain
    hu[hu >= 300] *= np.exp(rng.normal(0, 0.2 * amount))
    hu[_NAMES.index("lung")] += rng.normal(0, 40) * amount
    texture *= np.exp(rng.normal(0, 0.4, len(hu)) * amount)
    texture[soft] += rng.exponential(1.5 * amount + 1e-6, soft.sum())
