"""What the scans of each collection look like: phase, range, noise, thickness, lesions."""

from __future__ import annotations

from dataclasses import dataclass

from mots_pretrained.phantom.appearance import Scanner


@dataclass(frozen=True)
class Domain:
    """One collection's habits.

    Attributes:
        scanner: Contrast phases, noise, slice thickness and point spread.
        bottom: Range of the scan's lower end, in millimetres above the first lumbar vertebra.
        top: Range of its upper end.
        field: Range of the reconstructed field of view in the plane, in millimetres.
        lesions: Tumours that the collection is about.
    """

    scanner: Scanner
    bottom: tuple[float, float]
    top: tuple[float, float]
    field: tuple[float, float]
    lesions: tuple[str, ...]


DOMAINS: dict[str, Domain] = {
    "liver": Domain(
        Scanner((0.08, 0.17, 0.65, 0.10), (7, 22), (1.0, 5.0), (1.2, 2.6)),
        (-340, -90), (95, 250), (330, 460), ("liver_tumour",),
    ),
    "kidney": Domain(
        Scanner((0.02, 0.68, 0.25, 0.05), (8, 22), (1.0, 5.0), (1.2, 2.4)),
        (-350, -120), (80, 160), (330, 470), ("kidney_tumour",),
    ),
    "hepatic_vessel": Domain(
        Scanner((0.0, 0.08, 0.87, 0.05), (7, 17), (2.5, 5.0), (1.2, 2.2)),
        (-150, -70), (95, 135), (330, 440), ("hepatic_vessel_tumour",),
    ),
    "pancreas": Domain(
        Scanner((0.0, 0.12, 0.85, 0.03), (8, 18), (2.5, 3.5), (1.2, 2.2)),
        (-260, -90), (85, 140), (320, 440), ("pancreas_tumour",),
    ),
    "colon": Domain(
        Scanner((0.06, 0.10, 0.80, 0.04), (8, 22), (1.5, 5.0), (1.2, 2.6)),
        (-350, -300), (60, 140), (330, 460), ("colon_tumour",),
    ),
    "lung": Domain(
        Scanner((0.45, 0.25, 0.25, 0.05), (10, 32), (1.0, 2.5), (1.0, 2.0)),
        (-60, 30), (255, 300), (320, 420), ("lung_tumour",),
    ),
    "spleen": Domain(
        Scanner((0.02, 0.10, 0.82, 0.06), (7, 18), (1.5, 6.0), (1.2, 2.4)),
        (-300, -90), (90, 160), (330, 460), (),
    ),
}  # fmt: skip
"""A domain per task of Table 1, by the task's name."""
