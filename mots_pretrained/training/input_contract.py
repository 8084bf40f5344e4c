"""The contract that a folder's scans ask of a network: channels, intensities, spacing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.layouts import Collection
from mots_pretrained.data.layouts.channels import channel_key, sequence_named
from mots_pretrained.data.survey import Facts
from mots_pretrained.errors import UserError
from mots_pretrained.training.recipe import Recipe

LOOKED_AT = 3
"""Scans whose voxels say whether they are CT, where channels have no names."""

_AIR = -200  # HU; what has voxels below is a CT, for MRI hardly knows numbers below 0
_MRI = ("mr", "mri")  # what channels are called beside their sequences
_SAME_MM = 0.01  # share by which the spacing of scans may differ without a word


class AskedInput(NamedTuple):
    """What scans ask of a network's input.

    Attributes:
        contract: The contract.
        told: One line for the user: what was taken for what, why, and at which spacing.
    """

    contract: Preprocessing
    told: str


def asked_input(
    found: Collection, contract: Preprocessing, facts: Mapping[str, Facts], recipe: Recipe
) -> AskedInput:
    """Return the contract for a folder's scans: the weights' own for CT, z-scores for MRI.

    MRI keeps its own spacing, the median over the cases, unless the weights are MRI's, too: these
    have learned at theirs, which then stays. The recipe's spacing counts for more. Patch and window
    stay as they are.

    Args:
        found: The cases, their files in the order of the network's channels if it has those.
        contract: What the network has had.
        facts: As of ``survey``, with intensities where neither names of channels nor the recipe say
            what the scans are.
        recipe: Says spacing and intensity, where somebody chose them.

    Raises:
        UserError: If cases differ in their channels, or have others than the folder names; if MRI
            is to be CT.
    """
    names = _channel_names(found, facts)
    is_ct, why = _modality(found, names, facts, recipe)
    if is_ct and found.channels is None and len(names) == 1:
        names = ("ct",)
    depth, height, width = np.median([known.spacing for known in facts.values()], axis=0).tolist()
    own = depth, height, width
    if recipe.spacing is not None:
        spacing, whose = recipe.spacing, ", as spacing says"
    elif is_ct or contract.intensity == "zscore":
        spacing, whose = contract.spacing, ""
        if not np.allclose(spacing, own, rtol=_SAME_MM):
            whose = f", the network's; the scans have {_mm(own)} (median), --spacing chooses"
    else:
        spacing, whose = own, ", the scans' median"
    asked = dataclasses.replace(
        contract, intensity="ct" if is_ct else "zscore", channels=names, spacing=spacing
    )
    scaled = "z-scored over what is not 0"
    if is_ct:
        scaled = "clipped to {:g} to {:g} HU".format(*contract.clip)
    taken = "CT" if is_ct else "MRI"
    return AskedInput(asked, f"Taken for {taken}, {why}: {scaled}, at {_mm(spacing)}{whose}")


def _channel_names(found: Collection, facts: Mapping[str, Facts]) -> tuple[str, ...]:
    """Return the folder's names of the channels, or numbered ones."""
    first = found.cases[0]
    count = facts[first.name].channels
    for scan in found.cases:
        if facts[scan.name].channels != count:
            raise UserError(
                f"{scan.images[0]}: case {scan.name} has {facts[scan.name].channels} channel(s), "
                f"{first.name} has {count}"
            )
    names = found.channels or tuple(f"channel_{i}" for i in range(count))
    if len(names) != count:
        raise UserError(
            f"{first.images[0]} has {count} channel(s), wanted are {len(names)} "
            f"({', '.join(names)})"
        )
    return names


def _modality(
    found: Collection, names: tuple[str, ...], facts: Mapping[str, Facts], recipe: Recipe
) -> tuple[bool, str]:
    """Return whether scans are CT, and by what that was told."""
    if recipe.intensity is not None:
        mri = [name for name in names if sequence_named(name) or channel_key(name) in _MRI]
        if recipe.intensity == "ct" and mri:
            raise UserError(
                f"{found.folder} has a channel {mri[0]}, and MRI has no CT numbers; leave out "
                "intensity=ct (--intensity), or correct the name"
            )
        return recipe.intensity == "ct", "as intensity says"
    if found.channels is not None:
        is_ct = all(name.split("_")[0] == "ct" for name in names)
        return is_ct, f"by the folder's names of channels ({', '.join(names)})"
    if len(names) > 1:
        return False, f"as there are {len(names)} channels"
    looked = [known.lowest for known in facts.values() if known.lowest is not None]
    low = min(looked)
    if low < _AIR:
        return True, f"as there are numbers of air (down to {low:g})"
    return False, (
        f"as nothing lies below {_AIR} in {len(looked)} scan(s) (the lowest is {low:g}; if they "
        "are CT, --intensity ct)"
    )


def _mm(spacing: tuple[float, float, float]) -> str:
    return f"{' x '.join(f'{step:.3g}' for step in spacing)} mm"
