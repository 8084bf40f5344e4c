"""Are a scan's values CT numbers in Hounsfield units, or off by what was added to store them?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_AIR, _TISSUE = -200, -150  # HU: every CT has voxels below the one and above the other
_OFFSET = 1024  # what scanners add to store CT numbers as positive ones
_LOOKED_AT = 64  # slices, rows and columns at most
_BODY = 0.05  # share of a scan that a body takes up at least


def why_not_hounsfield(channel: NDArray[Any], *, clipped: bool = False) -> str:
    """Say why a scan is no CT in Hounsfield units; nothing where it may be one.

    Args:
        channel: ``(D, H, W)``.
        clipped: Whether it may have been clipped above the numbers of air.

    Example:
        >>> why_not_hounsfield(np.full((4, 4, 4), 255))
        'its values run from 255 to 255, so nothing lies below -200, where air and lungs are'
    """
    low, high = float(channel.min()), float(channel.max())
    values = channel[tuple(slice(None, None, -(-n // _LOOKED_AT)) for n in channel.shape)]
    offset = _offset(values)
    if offset:
        where = "above" if offset > 0 else "below"
        cause = "was not applied" if offset > 0 else "was applied twice"
        return (
            f"its values lie {_OFFSET} {where} those of air and tissue, so the rescale intercept "
            f"of -{_OFFSET} {cause} (they run from {low:g} to {high:g})"
        )
    if low > _AIR and not clipped:
        return (
            f"its values run from {low:g} to {high:g}, so nothing lies below {_AIR}, where air "
            "and lungs are"
        )
    if high < _TISSUE:
        return (
            f"its values run from {low:g} to {high:g}, so nothing lies above {_TISSUE}, where the "
            "body is"
        )
    return ""


def _offset(values: NDArray[Any]) -> int:
    """Return 1024 or -1024 where air and tissue both lie so far off, else 0.

    Padding may have any value, and so may a few voxels of metal, so shares are counted.
    """

    def share(low: float, high: float) -> float:
        return float(np.mean((values > low) & (values < high)))

    # raised: soft tissue where a CT has dense bone alone, air where it has tissue, less between
    raised = share(850, 1300)
    if raised > max(_BODY, 2 * share(400, 800)) and share(-150, 300) > 0.01:
        return _OFFSET if share(-1100, -250) < 0.01 else 0
    # lowered: soft tissue where a CT has air, air where it has nothing, and no tissue
    if share(-1250, -850) > _BODY and share(-2200, -1700) > 0.01 and share(-250, 1000) < 0.02:
        return -_OFFSET
    return 0
