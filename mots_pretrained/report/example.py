"""A slice of a case held out, as labelled and as found: kept by a training, shown in its page."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.files import replacing

EXAMPLE = "example.npz"
"""File of a training's folder; it names no case."""


@dataclass(frozen=True, eq=False)
class Example:
    """One axial slice.

    Attributes:
        image: ``(H, W)``, first channel, as the contract scales it.
        truth: ``(H, W)``, number of the class, from 1 on; where several lie, the smallest one's.
        found: The same of the prediction.
        spacing: Millimetres along (H, W).
        names: The classes.
        step: Of the training.
    """

    image: NDArray[np.float32]
    truth: NDArray[np.uint8]
    found: NDArray[np.uint8]
    spacing: tuple[float, float]
    names: tuple[str, ...]
    step: int

    @classmethod
    def of(
        cls,
        image: NDArray[np.float32],
        truth: NDArray[Any],
        found: NDArray[Any],
        *,
        exclusive: bool,
        spacing: tuple[float, float, float],
        names: tuple[str, ...],
        step: int,
    ) -> Example:
        """Choose the slice in which the truth shows most, each class counting alike.

        Args:
            image: ``(D, H, W)``.
            truth: ``(1, D, H, W)`` numbers of classes, or a channel a class, 1 within it.
            found: Likewise.
            exclusive: Whether it is the former.
            spacing: Millimetres along (D, H, W).
            names: The classes.
            step: Of the training.
        """

        def mask(labels: NDArray[Any], index: int) -> NDArray[np.bool_]:
            inside: NDArray[np.bool_] = labels[0] == index + 1 if exclusive else labels[index] == 1
            return inside

        areas = [mask(truth, index).sum(axis=(1, 2)) for index in range(len(names))]
        score = np.sum([area / max(1, area.max()) for area in areas], axis=0)
        at = int(score.argmax()) if score.any() else len(image) // 2
        pair = np.zeros((2, *image.shape[1:]), np.uint8)
        for index in sorted(range(len(names)), key=lambda k: -int(areas[k].sum())):
            for labels, whole in zip(pair, (truth, found), strict=True):
                labels[mask(whole[:, at : at + 1], index)[0]] = index + 1
        return cls(np.asarray(image[at], np.float32), pair[0], pair[1], spacing[1:], names, step)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write it into a training's folder."""
        with replacing(Path(folder) / EXAMPLE) as file:
            np.savez_compressed(
                file,
                image=self.image.astype(np.float16),
                truth=self.truth,
                found=self.found,
                spacing=np.array(self.spacing),
                names=np.array(self.names),
                step=np.array(self.step),
            )

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Example | None:
        """Read what a training has left; None where there is nothing, or nothing of the kind."""
        try:
            with (
                open(Path(folder) / EXAMPLE, "rb") as opened,
                np.load(opened, allow_pickle=False) as file,
            ):
                height, width = (float(step) for step in file["spacing"])
                example = cls(
                    file["image"].astype(np.float32),
                    file["truth"].astype(np.uint8),
                    file["found"].astype(np.uint8),
                    (height, width),
                    tuple(map(str, file["names"])),
                    int(file["step"]),
                )
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
        shape = example.image.shape
        sound = len(shape) == 2 and example.truth.shape == example.found.shape == shape
        return example if sound and min(height, width) > 0 else None


def draw_example(example: Example, which: str, path: str | os.PathLike[str]) -> None:
    """Draw the slice with its truth or what was found in it, and a legend.

    Args:
        example: The slice.
        which: ``"truth"`` or ``"found"``.
        path: A ``.png`` file to write or replace.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from mots_pretrained.images.terminology import colour_of
    from mots_pretrained.report.canvas import INK, PAPER, save_figure
    from mots_pretrained.report.overlay import draw_labels

    values = {name: index for index, name in enumerate(example.names, start=1)}
    shown = [
        n for n, v in values.items() if (example.truth == v).any() or (example.found == v).any()
    ]
    labels = example.truth if which == "truth" else example.found
    height, width = (n * step for n, step in zip(labels.shape, example.spacing, strict=True))
    figure = Figure(
        figsize=(5.6, 5.6 * height / width + 0.3 * -(-len(shown) // 2)), facecolor=PAPER
    )
    axes = figure.add_axes((0, 1 - 5.6 * height / width / figure.get_figheight(), 1,
                            5.6 * height / width / figure.get_figheight()))  # fmt: skip
    axes.axis("off")
    low, high = np.percentile(example.image, (1, 99.5))
    axes.imshow(example.image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect="auto",
                interpolation="bilinear")  # fmt: skip
    draw_labels(axes, labels, values)
    patches = [
        Patch(
            facecolor=colour_of(name, values[name]),
            label=name.replace("_", " ").replace("$", r"\$"),
        )
        for name in shown
    ]
    figure.legend(handles=patches, loc="lower center", ncols=2, frameon=False, labelcolor=INK,
                  fontsize=13, borderaxespad=0)  # fmt: skip
    save_figure(figure, path)
