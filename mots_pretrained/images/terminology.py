"""What categories look like and what SNOMED CT calls them: one colour and one code for each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

# Organs in calm colours, tumours in loud ones; anything else takes the spare ones in turn.
_COLOURS = {
    "liver": "#d98c4a",
    "liver_tumour": "#ff2d55",
    "kidney": "#4da3ff",
    "kidney_tumour": "#ffd60a",
    "hepatic_vessel": "#5e5ce6",
    "hepatic_vessel_tumour": "#ff7ad9",
    "pancreas": "#f2cf63",
    "pancreas_tumour": "#ff6b00",
    "colon_tumour": "#d4ff00",
    "lung_tumour": "#00ffe0",
    "spleen": "#9b6bd3",
    "right_kidney": "#4da3ff",
    "left_kidney": "#2f6fd0",
    "gallbladder": "#3fbf6f",
    "esophagus": "#c7a27c",
    "stomach": "#e0709a",
    "aorta": "#e5484d",
    "inferior_vena_cava": "#3e63dd",
    "portal_and_splenic_vein": "#5e5ce6",
    "right_adrenal_gland": "#12a594",
    "left_adrenal_gland": "#6bd6c5",
    "enhancing_tumour": "#ff2d55",
    "tumour_core": "#ffd60a",
    "whole_tumour": "#3fbf6f",
}
_SPARE = (
    "#4da3ff", "#d98c4a", "#3fbf6f", "#e5484d", "#9b6bd3", "#f2cf63", "#12a594", "#e0709a",
)  # fmt: skip


class Code(NamedTuple):
    """A concept of SNOMED CT: its number, and its name in DICOM's and 3D Slicer's lists."""

    value: str
    meaning: str


@dataclass(frozen=True)
class Concept:
    """What a category is, in the terms of a DICOM segmentation.

    Attributes:
        category: What kind of thing it is: an anatomical structure, an altered one, or tissue.
        type: The thing itself, e.g. liver or neoplasm.
        side: Right or left, where the name says so.
        region: The organ that holds it, where the type is no organ.
    """

    category: Code
    type: Code
    side: Code | None = None
    region: Code | None = None


_ANATOMY = Code("123037004", "Anatomical Structure")
_ALTERED = Code("49755003", "Morphologically Altered Structure")
_TISSUE = Code("85756007", "Tissue")
_NEOPLASM = Code("108369006", "Neoplasm")
_VESSEL = Code("59820001", "Blood vessel")
_SIDES = {"right": Code("24028007", "Right"), "left": Code("7771000", "Left")}
_ORGANS = {
    "liver": Code("10200004", "Liver"),
    "kidney": Code("64033007", "Kidney"),
    "pancreas": Code("15776009", "Pancreas"),
    "spleen": Code("78961009", "Spleen"),
    "colon": Code("71854001", "Colon"),
    "lung": Code("39607008", "Lung"),
    "gallbladder": Code("28231008", "Gallbladder"),
    "esophagus": Code("32849002", "Esophagus"),
    "oesophagus": Code("32849002", "Esophagus"),
    "stomach": Code("69695003", "Stomach"),
    "duodenum": Code("38848004", "Duodenum"),
    "aorta": Code("15825003", "Aorta"),
    "inferior_vena_cava": Code("64131007", "Inferior vena cava"),
    "portal_and_splenic_vein": Code("110765007", "Portal vein and splenic vein"),
    "adrenal_gland": Code("23451007", "Adrenal gland"),
    "bladder": Code("89837001", "Urinary bladder"),
    "brain": Code("12738006", "Brain"),
}
# Regions of a brain tumour, and vessels within an organ, are named after no organ of the list.
_SPECIAL = {
    "hepatic_vessel": Concept(_ANATOMY, _VESSEL, region=_ORGANS["liver"]),
    "hepatic_vessel_tumour": Concept(_ALTERED, _NEOPLASM, region=_ORGANS["liver"]),
    "enhancing_tumour": Concept(_ALTERED, _NEOPLASM, region=_ORGANS["brain"]),
    "tumour_core": Concept(_ALTERED, _NEOPLASM, region=_ORGANS["brain"]),
    "whole_tumour": Concept(_ALTERED, _NEOPLASM, region=_ORGANS["brain"]),
}


def colour_of(name: str, value: int) -> str:
    """Colour of a category as ``#rrggbb``; ``value`` chooses a spare one for unknown names."""
    return _COLOURS.get(name, _SPARE[value % len(_SPARE)])


def rgb_of(name: str, value: int) -> tuple[int, int, int]:
    """Colour of a category as red, green and blue, 0 to 255.

    Example:
        >>> rgb_of("liver", 1)
        (217, 140, 74)
    """
    red, green, blue = bytes.fromhex(colour_of(name, value)[1:])
    return red, green, blue


def concept_of(name: str) -> Concept:
    """What a category is in SNOMED CT; a name that says nothing is tissue.

    Example:
        >>> concept_of("left_kidney").side.meaning, concept_of("lung_tumour").region.meaning
        ('Left', 'Lung')
    """
    plain = re.sub(r"[^a-z]+", "_", name.lower().replace("tumor", "tumour")).strip("_")
    if plain in _SPECIAL:
        return _SPECIAL[plain]
    words = plain.split("_")
    side = next((_SIDES[word] for word in words if word in _SIDES), None)
    words = [word for word in words if word not in _SIDES]
    if words and words[-1] == "tumour" and "_".join(words[:-1]) in _ORGANS:
        return Concept(_ALTERED, _NEOPLASM, side, _ORGANS["_".join(words[:-1])])
    if "_".join(words) in _ORGANS:
        return Concept(_ANATOMY, _ORGANS["_".join(words)], side)
    return Concept(_TISSUE, _TISSUE)
