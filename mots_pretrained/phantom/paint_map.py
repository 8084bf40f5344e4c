"""Real label maps painted with the phantoms' tissues and scanner: tells shape from appearance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.phantom.scanner import Scan
from mots_pretrained.phantom.space import EXTENT_HIGH, EXTENT_LOW, Box, Floats, Lattice
from mots_pretrained.phantom.tissues import PHASES, TISSUES, Look
from mots_pretrained.phantom.unlabelled import paint_unlabelled

# What a structure is made of, by the first of these words that its name holds.
_TISSUE_OF: tuple[tuple[str, str], ...] = (
    ("gallbladder", "bile"),
    ("bladder", "urine"),
    ("adrenal", "adrenal"),
    ("hepatic_vessel", "hepatic_vessel"),
    ("pulmonary_vein", "lung_vessel"),
    ("portal", "portal_vein"),
    ("cava", "vein"),
    ("vein", "vein"),
    ("vena", "vein"),
    ("aorta", "artery"),
    ("artery", "artery"),
    ("brachiocephalic_trunk", "artery"),
    ("cyst", "cyst"),
    ("kidney", "renal_cortex"),
    ("liver", "liver"),
    ("spleen", "spleen"),
    ("pancreas", "pancreas"),
    ("stomach", "stomach_fluid"),
    ("esophagus", "oesophagus_wall"),
    ("oesophagus", "oesophagus_wall"),
    ("duodenum", "bowel_fluid"),
    ("bowel", "bowel_fluid"),
    ("colon", "faeces"),
    ("lung", "lung"),
    ("trachea", "bronchus"),
    ("heart", "heart_chamber"),
    ("atrial", "heart_chamber"),
    ("thyroid", "lymph"),
    ("prostate", "pelvic_organ"),
    ("uterus", "pelvic_organ"),
    ("spinal_cord", "cord"),
    ("cartilage", "cartilage"),
    ("gluteus", "lean_muscle"),
    ("autochthon", "lean_muscle"),
    ("iliopsoas", "lean_muscle"),
    ("muscle", "muscle"),
    *(
        (word, "spongiosa")
        for word in (
            "bone", "sacrum", "vertebra", "rib", "sternum", "hip", "femur", "skull", "humerus",
            "scapula", "clavicula",
        )
    ),
)  # fmt: skip
# The outer layer of what is not the same throughout: its tissue and thickness in millimetres.
_SHELLS = {
    "spongiosa": ("cortical_bone", 2.0),
    "stomach_fluid": ("stomach_wall", 4.0),
    "bowel_fluid": ("bowel_wall", 2.5),
    "faeces": ("bowel_wall", 2.5),
    "urine": ("bladder_wall", 3.0),
    "heart_chamber": ("myocardium", 8.0),
}


def paint(
    labels: NDArray[np.integer],
    names: Mapping[int, str],
    spacing: tuple[float, float, float],
    *,
    seed: int = 0,
    randomise: float = 0.0,
    phase: str | None = None,
) -> Floats:
    """Paint a label map as a CT.

    What the map leaves out (fat, muscle, skin, and without labels of their own lungs, spine and
    bowel) is filled in plausibly, not truly: the image serves to score organs that are labelled.
    A map that is finer than the network's spacing gives softer edges: paint first, then resample.

    Args:
        labels: ``(D, H, W)`` values; D from feet to head, H from front to back, W from the
            patient's right to left.
        names: Name of each value, as TotalSegmentator, AMOS or ``TORSO_LABELS`` have it.
        spacing: Millimetres ``(D, H, W)``.
        seed: Any non-negative integer.
        randomise: How far appearance leaves the middle of its ranges, 0 to 1.
        phase: Contrast phase, one of ``tissues.PHASES``; drawn by default.

    Returns:
        ``(D, H, W)`` float32 in HU.

    Raises:
        KeyError: If the phase is unknown, or nothing is known of a structure's name.
        ValueError: If the labels have another number of axes than three.

    Example:
        >>> labels = np.zeros((8, 24, 24), np.uint8)
        >>> labels[2:6, 6:18, 6:18] = 1
        >>> paint(labels, {1: "liver"}, (5.0, 5.0, 5.0), phase="native").shape
        (8, 24, 24)
    """
    if labels.ndim != 3:
        raise UserError(f"a label map has three axes, not {labels.ndim}")
    if phase is not None and phase not in PHASES:
        raise UnknownNameError(f"unknown phase {phase!r}; there are: {', '.join(PHASES)}")
    tissues = {value: tissue_of(name) for value, name in names.items()}
    look_rng, field_rng, scan_rng = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)
    )
    look = Look(look_rng, phase or (0.2, 0.2, 0.5, 0.1), randomise)
    scan = Scan.draw(look_rng, (1.0, 5.0), (0.1, 0.9), randomise)
    fields = _fields(field_rng, labels.shape, spacing)
    image = paint_unlabelled(labels, names, spacing, look, fields, field_rng)
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None and value in tissues:
            mask = labels[box] == value
            here = tuple(field[box] for field in fields)
            image[box][mask] = _structure(mask, tissues[value], spacing, look, here)[mask]
    return scan.take(scan_rng, image, spacing)


def tissue_of(name: str) -> str:
    """Return the tissue that a structure is made of.

    Raises:
        KeyError: If nothing is known of such a name.

    Example:
        >>> tissue_of("left kidney"), tissue_of("vertebrae_L3"), tissue_of("liver_tumour")
        ('renal_cortex', 'spongiosa', 'liver_tumour')
    """
    plain = name.lower().replace(" ", "_").replace("hepatic_vessel_tumour", "liver_tumour")
    if plain in TISSUES:
        return plain
    for word, tissue in _TISSUE_OF:
        if word in plain:
            return tissue
    raise UnknownNameError(
        f"nothing is known of {name!r}; a name holds one of: "
        + ", ".join(word for word, _ in _TISSUE_OF)
    )


def _fields(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: tuple[float, float, float]
) -> tuple[Floats, Floats, Floats]:
    """Smooth random fields of 25, 18 and 8 mm on the map's grid."""
    middle = (EXTENT_LOW + EXTENT_HIGH) / 2
    axes = [m + (np.arange(n) - n / 2) * s for m, n, s in zip(middle, shape, spacing, strict=True)]
    coarse, medium, fine = (Lattice(rng, step).on_axes(axes) for step in (25.0, 18.0, 8.0))
    return coarse, medium, fine


def _structure(
    mask: NDArray[np.bool_],
    tissue: str,
    spacing: tuple[float, float, float],
    look: Look,
    fields: tuple[Floats, ...],
) -> Floats:
    """The HU of one structure within its box."""
    coarse, medium, fine = fields

    def of(name: str) -> Floats:
        return np.float32(look.hu[name]) + np.float32(look.grain[name]) * fine

    value = of(tissue)
    if tissue == "liver":
        # The zeros of two smooth fields meet in lines: a mesh of vessels.
        vessel = coarse**2 + medium**2 < 0.035
        return np.where(vessel & (depth(mask, spacing) > 5), of("hepatic_vessel"), value)
    if tissue == "renal_cortex":
        inside = depth(mask, spacing)
        lobes = fine + medium - np.float32(0.3)
        value = np.where((inside > 6) & (lobes < 0), of("renal_medulla"), value)
        return np.where((inside > 10) & (lobes < -0.9), of("urine"), value)
    if tissue in _SHELLS:
        shell, thickness = _SHELLS[tissue]
        if tissue in ("stomach_fluid", "faeces", "bowel_fluid"):
            value = np.where(_gas(mask, tissue, medium), of("bowel_gas"), value)
        value = np.where(depth(mask, spacing) <= thickness, of(shell), value)
    return value


def _gas(mask: NDArray[np.bool_], tissue: str, medium: Floats) -> NDArray[np.bool_]:
    """Where a hollow organ holds gas: to the front, since the patient lies on the back."""
    rows = np.arange(mask.shape[1], dtype=np.float32)[:, None] / max(mask.shape[1], 1)
    if tissue == "stomach_fluid":
        return np.broadcast_to(rows < 0.25, mask.shape)
    return medium > (0.6 if tissue == "faeces" else 1.6)


def depth(mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> Floats:
    """Distance in millimetres from the surface of a mask that fills its box; 0 outside."""
    whole: Box = (slice(1, -1),) * 3
    padded = np.pad(mask, 1)
    return ndimage.distance_transform_edt(padded, sampling=spacing)[whole].astype(np.float32)
