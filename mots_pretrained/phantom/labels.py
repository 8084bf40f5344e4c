"""The complete label map of a phantom, and how each task of Table 1 sees only its part of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UnknownNameError
from mots_pretrained.tasks import BCV_ORGANS, Task, task_named

TORSO_LABELS: tuple[str, ...] = (
    *BCV_ORGANS,
    "colon",
    "lung",
    "hepatic_vessel",
    "liver_tumour",
    "kidney_tumour",
    "hepatic_vessel_tumour",
    "pancreas_tumour",
    "colon_tumour",
    "lung_tumour",
    "liver_cyst",
    "kidney_cyst",
    "bone",
    "duodenum",
    "small_bowel",
    "bladder",
    "heart",
    "muscle",
)
"""What a torso phantom labels; value ``i + 1`` of the complete label map is name ``i``."""

LABEL: dict[str, int] = {name: value for value, name in enumerate(TORSO_LABELS, start=1)}
"""Value of each name of :data:`TORSO_LABELS`."""

# Which complete labels make up (organ, tumour) of a task. The tumours of a liver are one thing
# whichever collection the scan imitates; vessels and cysts of the liver are part of the liver.
_LIVER_TUMOURS = ("liver_tumour", "hepatic_vessel_tumour")
_TARGETS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "liver": (("liver", "hepatic_vessel", "liver_cyst", *_LIVER_TUMOURS), _LIVER_TUMOURS),
    "kidney": (
        ("right_kidney", "left_kidney", "kidney_cyst", "kidney_tumour"),
        ("kidney_tumour",),
    ),
    "hepatic_vessel": (("hepatic_vessel",), _LIVER_TUMOURS),
    "pancreas": (("pancreas", "pancreas_tumour"), ("pancreas_tumour",)),
    "colon": (("colon", "colon_tumour"), ("colon_tumour",)),
    "lung": (("lung", "lung_tumour"), ("lung_tumour",)),
    "spleen": (("spleen",), ()),
}


def task_target(labels: NDArray[np.integer], task: str | Task) -> NDArray[np.bool_]:
    """The (organ, tumour) target that a task's annotators would have drawn.

    Both channels are filled where the anatomy has them, also those that the task's collection does
    not label (the colon's organ, say): what is scored is the caller's matter (``Task.labelled``).

    Args:
        labels: ``(D, H, W)`` complete label map of a phantom.
        task: One of the seven tasks of Table 1, or its name.

    Returns:
        ``(2, D, H, W)`` bool; the organ contains its tumour, but for the hepatic vessels, where
        vessel and tumour exclude each other.

    Raises:
        KeyError: If the task is none of the seven.

    Example:
        >>> import numpy as np
        >>> liver = np.array([[[0, LABEL["liver"], LABEL["liver_tumour"]]]])
        >>> task_target(liver, "liver").astype(int).tolist()
        [[[[0, 1, 1]]], [[[0, 0, 1]]]]
    """
    name = task.name if isinstance(task, Task) else task_named(task).name
    if name not in _TARGETS:
        raise UnknownNameError(
            f"phantoms have no target for task {name!r}; they have: {', '.join(_TARGETS)}"
        )
    table = np.zeros((2, 256), dtype=bool)
    for channel, names in enumerate(_TARGETS[name]):
        table[channel, [LABEL[n] for n in names]] = True
    return np.stack([table[0][labels], table[1][labels]])
