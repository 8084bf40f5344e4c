"""Every category of MOTS, BCV and BraTS has a colour and a code of SNOMED CT."""

from __future__ import annotations

import pytest
from pydicom.sr._concepts_dict import concepts

from mots_pretrained.images.terminology import colour_of, concept_of, rgb_of
from mots_pretrained.tasks import BCV_ORGANS, BRATS_REGIONS, MOTS_CATEGORIES

KNOWN = {code for values in concepts["SCT"].values() for code in values}
NAMES = sorted({*MOTS_CATEGORIES, *BCV_ORGANS, *BRATS_REGIONS})


@pytest.mark.parametrize("name", NAMES)
def test_every_category_has_a_code(name: str) -> None:
    concept = concept_of(name)
    assert concept.type.meaning != "Tissue"
    tumour = name.endswith("_tumour") or name in BRATS_REGIONS
    assert (concept.type.meaning == "Neoplasm") == tumour
    assert (concept.region is not None) == (tumour or name == "hepatic_vessel")
    assert (concept.side is not None) == name.startswith(("left_", "right_"))
    for code in (concept.category, concept.type, concept.side, concept.region):
        # DICOM's lists lack the joined portal and splenic vein, which SNOMED CT has
        assert code is None or code.value in KNOWN | {"110765007"}


def test_colours_of_mots_differ_and_unknown_names_get_spare_ones() -> None:
    assert len({colour_of(name, 0) for name in MOTS_CATEGORIES}) == 11
    assert len({colour_of(name, 0) for name in BCV_ORGANS}) == 13
    assert colour_of("thing", 1) != colour_of("thing", 2)
    assert rgb_of("spleen", 0) == (0x9B, 0x6B, 0xD3)


def test_other_spellings_are_understood() -> None:
    assert concept_of("Kidney Left") == concept_of("left_kidney")
    assert concept_of("lung tumor") == concept_of("lung_tumour")
    assert concept_of("right_lung_tumour").side.meaning == "Right"
    assert concept_of("anything").type.meaning == concept_of("").type.meaning == "Tissue"
