"""What scans are taken for, at which spacing, and that the user is told of both."""

import dataclasses
from pathlib import Path

import pytest

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.layouts import CaseFiles, Collection
from mots_pretrained.data.survey import Facts
from mots_pretrained.errors import UserError
from mots_pretrained.training.input_contract import asked_input
from mots_pretrained.training.recipe import Recipe

CT = Preprocessing(spacing=(4.0, 3.0, 3.0))
MRI = dataclasses.replace(CT, intensity="zscore", channels=("channel_0",))


def asked(*facts, contract=CT, channels=None, **recipe):
    cases = tuple(CaseFiles(f"c{i}", (Path(f"c{i}.nii.gz"),)) for i in range(len(facts)))
    found = Collection("data", Path("data"), cases, channels=channels)
    by_name = {case.name: one for case, one in zip(cases, facts, strict=True)}
    return asked_input(found, contract, by_name, Recipe(steps=1, **recipe))


def test_scans_of_mri_at_the_spacing_of_weights_of_mri_are_told():
    """They were resampled to it without a word: four channels of 1.5 mm to 5 mm."""
    four = dataclasses.replace(MRI, channels=("t1", "t2", "t1ce", "flair"))
    coarse = dataclasses.replace(four, spacing=(4.999999997, 3.2, 3.2000000143))
    fine = Facts(4, (1.5, 1.0, 1.0))
    found = asked(fine, fine, contract=coarse, channels=coarse.channels)
    assert found.contract == coarse
    assert found.told == (
        "Taken for MRI, by the folder's names of channels (t1, t2, t1ce, flair): z-scored over "
        "what is not 0, at 5 x 3.2 x 3.2 mm, the network's; the scans have 1.5 x 1 x 1 mm "
        "(median), --spacing chooses"
    )
    like = Facts(4, (5.0, 3.19, 3.21))
    assert asked(like, contract=coarse).told.endswith("at 5 x 3.2 x 3.2 mm")


@pytest.mark.parametrize(
    ("facts", "options", "spacing", "told"),
    [
        (
            [Facts(1, (3.0, 1.0, 1.0), -1024.0), Facts(1, (1.0, 1.0, 1.0), -900.0)],
            {}, (4.0, 3.0, 3.0),
            "Taken for CT, as there are numbers of air (down to -1024): clipped to -325 to 325 HU, "
            "at 4 x 3 x 3 mm, the network's; the scans have 2 x 1 x 1 mm (median), --spacing "
            "chooses",
        ),
        (
            [Facts(1, (3.0, 1.0, 1.0), -175.0), Facts(1, (3.0, 1.0, 1.0))],
            {}, (3.0, 1.0, 1.0),
            "Taken for MRI, as nothing lies below -200 in 1 scan(s) (the lowest is -175; "
            "if they are CT, --intensity ct): z-scored over what is not 0, at 3 x 1 x 1 mm, the "
            "scans' median",
        ),
        (
            [Facts(2, (3.0, 1.0, 1.0), -1024.0)],
            {"spacing": (6.0, 4.0, 4.0)}, (6.0, 4.0, 4.0),
            "Taken for MRI, as there are 2 channels: z-scored over what is not 0, at 6 x 4 x 4 mm, "
            "as spacing says",
        ),
    ],
)  # fmt: skip
def test_one_line_says_what_was_taken_for_what_and_why(facts, options, spacing, told):
    found = asked(*facts, **options)
    assert (found.told, found.contract.spacing) == (told, spacing)


def test_intensity_counts_for_more_than_numbers_and_names():
    """CT that was clipped to -175 was z-scored, and nothing could say what it is."""
    clipped = Facts(1, (3.0, 1.0, 1.0), -175.0)
    found = asked(clipped, intensity="ct")
    assert found.contract == CT
    assert found.told.startswith("Taken for CT, as intensity says: clipped to -325 to 325 HU, at")
    assert asked(Facts(2, (3.0, 1.0, 1.0)), intensity="ct").contract.channels == (
        "channel_0", "channel_1",
    )  # fmt: skip
    scored = asked(Facts(1, (3.0, 1.0, 1.0)), channels=("ct",), intensity="zscore").contract
    assert (scored.intensity, scored.channels, scored.spacing) == ("zscore", ("ct",), (3, 1, 1))


@pytest.mark.parametrize("name", ["t1", "FLAIR", "MRI"])
def test_mri_cannot_be_ct(name):
    with pytest.raises(UserError, match=f"data has a channel {name}, and MRI has no CT numbers"):
        asked(Facts(1, (3.0, 1.0, 1.0)), channels=(name,), intensity="ct")
