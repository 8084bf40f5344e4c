"""A small picture of a scan with its labels' outlines: one axial and one coronal slice."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.images.terminology import colour_of
from mots_pretrained.images.volume import Volume
from mots_pretrained.report.overlay import best_slices, display_range

_WIDE, _TALL, _GAP = 170, 230, 4  # pixels of a slice at most, and between the two


def draw_thumbnail(volume: Volume, labels: NDArray[Any], values: Mapping[str, int]) -> bytes:
    """Draw the slices that show most of what is labelled, the patient's right on the left.

    Args:
        volume: The scan, of one channel.
        labels: ``(D, H, W)`` on the scan's grid, 0 for background.
        values: Value of each category in ``labels``.

    Returns:
        A JPEG file of about ten kilobytes.
    """
    from PIL import Image

    at = best_slices(labels, [value for value in values.values() if (labels == value).any()])
    depth, height, width = (n * s for n, s in zip(volume.shape, volume.spacing, strict=True))
    scale = min(_WIDE / width, _TALL / max(depth, height))  # pixels a millimetre
    low, high = display_range(volume.array)
    panels = []
    for axis, tall in ((0, height), (1, depth)):
        scan, marks = (np.take(array, at[axis], axis) for array in (volume.array, labels))
        if axis == 1:  # depth runs from the feet up, a picture's rows from the top down
            scan, marks = scan[::-1], marks[::-1]
        grey = (np.clip((scan - low) / (high - low), 0, 1) * 255).astype(np.uint8)
        size = max(1, round(width * scale)), max(1, round(tall * scale))
        picture = Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR).convert("RGB")
        panels.append(_outlined(np.array(picture), marks, values))
    across = sum(panel.shape[1] for panel in panels) + _GAP
    canvas = np.zeros((max(panel.shape[0] for panel in panels), across, 3), np.uint8)
    left = 0
    for panel in panels:
        top = (canvas.shape[0] - panel.shape[0]) // 2
        canvas[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
        left += panel.shape[1] + _GAP
    file = BytesIO()
    Image.fromarray(canvas).save(file, "JPEG", quality=82, subsampling=0)
    return file.getvalue()


def _outlined(
    picture: NDArray[np.uint8], marks: NDArray[Any], values: Mapping[str, int]
) -> NDArray[np.uint8]:
    """Draw the outline of every category, one pixel wide."""
    from matplotlib.colors import to_rgb
    from scipy.ndimage import binary_erosion

    rows, columns = (
        np.arange(new) * old // new for new, old in zip(picture.shape[:2], marks.shape, strict=True)
    )
    near = marks[np.ix_(rows, columns)]
    for name, value in values.items():
        inside = near == value
        edge = inside & ~binary_erosion(inside)
        picture[edge] = np.round(255 * np.array(to_rgb(colour_of(name, value))))
    return picture
