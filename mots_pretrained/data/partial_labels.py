"""From a collection's label map to what it says about one task (Table 1; Sec. 3.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.tasks import Task


def partial_labels(labels: ArrayLike, task: Task) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Split a label map into the organ and the tumour channel of its task.

    Args:
        labels: ``(D, H, W)`` integer label map, in the values of the task's own collection.
        task: The task that the collection supervises; its values say what is what.

    Returns:
        ``(2, D, H, W)`` in {0, 1}, organ first, zeros where the collection annotates nothing, and
        ``(2,)`` bool, which of the two it annotates.

    Raises:
        ValueError: If the map holds a value that the collection does not use.

    Example:
        >>> from mots_pretrained.tasks import task_named
        >>> target, labelled = partial_labels([[[0, 1, 2]]], task_named("liver"))
        >>> target[:, 0, 0].tolist(), labelled.tolist()
        ([[0, 1, 1], [0, 0, 1]], [True, True])
    """
    values = np.asarray(labels)
    known = {0, *task.organ_values, *task.tumour_values, *task.background_values}
    found = np.unique(values)
    strange = [value for value in found.tolist() if value not in known]
    if strange:
        raise UserError(
            f"label value {strange[0]} means nothing in task {task.name}; "
            f"allowed are {', '.join(map(str, sorted(known)))}"
        )
    target = np.stack([np.isin(values, task.organ_values), np.isin(values, task.tumour_values)])
    return target.astype(np.uint8), np.array(task.labelled)
