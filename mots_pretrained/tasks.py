"""Table 1 as data: the seven partially labelled tasks of MOTS, and the downstream label sets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mots_pretrained.errors import UnknownNameError
from mots_pretrained.parse import check_name


@dataclass(frozen=True)
class Task:
    """One partially labelled task.

    Attributes:
        name: Name used in code and on the command line, e.g. ``"liver"``.
        organ: Category of channel 0, or None where the data set does not label it.
        tumour: Category of channel 1, or None where the data set does not label it.
        organ_values: Values of the source's label map that make up the organ.
        tumour_values: Values of the source's label map that make up the tumour.
        source: The public collection that the task comes from.
        train: Number of training scans in Table 1; 0 for tasks of one's own.
        test: Number of test scans in Table 1; 0 for tasks of one's own.
        background_values: Further values of the source's label map, of no meaning in this task.
    """

    name: str
    organ: str | None
    tumour: str | None
    organ_values: tuple[int, ...] = ()
    tumour_values: tuple[int, ...] = ()
    source: str = ""
    train: int = 0
    test: int = 0
    background_values: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        names = {"name": self.name, "organ": self.organ, "tumour": self.tumour}
        for what, name in {**names, "source": self.source or None}.items():
            if name is not None:
                check_name(f"{what} of a task", name)

    @property
    def labelled(self) -> tuple[bool, bool]:
        """Whether the data set annotates (organ, tumour)."""
        return self.organ is not None, self.tumour is not None

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the annotated categories, organ first."""
        return tuple(name for name in (self.organ, self.tumour) if name is not None)

    @property
    def organ_has_tumour(self) -> bool:
        """Whether the organ includes the tumour: all values of the tumour are the organ's too."""
        return {*self.tumour_values} <= {*self.organ_values}


def all_categories(tasks: Iterable[Task]) -> tuple[str, ...]:
    """Return the names of the annotated categories of tasks, in their order."""
    return tuple(name for task in tasks for name in task.categories)


MOTS_TASKS: tuple[Task, ...] = (
    Task("liver", "liver", "liver_tumour", (1, 2), (2,), "LiTS", 104, 27),
    Task("kidney", "kidney", "kidney_tumour", (1, 2), (2,), "KiTS19", 168, 42),
    # The vessels and their tumours exclude each other; everywhere else the tumour is in the organ.
    Task(
        "hepatic_vessel",
        "hepatic_vessel",
        "hepatic_vessel_tumour",
        (1,),
        (2,),
        "MSD Task08_HepaticVessel",
        242,
        61,
    ),
    Task("pancreas", "pancreas", "pancreas_tumour", (1, 2), (2,), "MSD Task07_Pancreas", 224, 57),
    Task("colon", None, "colon_tumour", (), (1,), "MSD Task10_Colon", 100, 26),
    Task("lung", None, "lung_tumour", (), (1,), "MSD Task06_Lung", 50, 13),
    Task("spleen", "spleen", None, (1,), (), "MSD Task09_Spleen", 32, 9),
)
"""The tasks of Table 1, in the order of the network's queries."""

MOTS_CATEGORIES: tuple[str, ...] = all_categories(MOTS_TASKS)
"""The eleven scored categories; position + 1 is the value in ``predict``'s label maps."""

BCV_ORGANS: tuple[str, ...] = (
    "spleen",
    "right_kidney",
    "left_kidney",
    "gallbladder",
    "esophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior_vena_cava",
    "portal_and_splenic_vein",
    "pancreas",
    "right_adrenal_gland",
    "left_adrenal_gland",
)
"""The 13 organs of BCV; position + 1 is the value in its label maps."""

BRATS_MODALITIES: tuple[str, ...] = ("t1", "t1ce", "t2", "flair")
"""BraTS 2018's sequences, in the order of the paper's four input channels."""

BRATS_REGIONS: dict[str, tuple[int, ...]] = {
    "enhancing_tumour": (4,),
    "tumour_core": (1, 4),
    "whole_tumour": (1, 2, 4),
}
"""BraTS's three nested regions as the label values that make each up (ET, TC, WT)."""

BRATS_2023_REGIONS: dict[str, tuple[int, ...]] = {
    name: tuple(3 if value == 4 else value for value in values)
    for name, values in BRATS_REGIONS.items()
}
"""The same regions from 2023 on, when what enhances became 3."""


PUBLIC_COLLECTIONS: frozenset[str] = frozenset(
    {"BCV", "BraTS", *(name for task in MOTS_TASKS for name in (task.name, task.source))}
)
"""Names of collections that anybody may publish; no folder of a user's is called so."""

IGNORED = 255
"""Value of a target's voxels that count neither way: no loss, no score and no patch reads them."""


def task_named(name: str, tasks: tuple[Task, ...] = MOTS_TASKS) -> Task:
    """Look a task up by its name.

    Args:
        name: Name such as ``"liver"``.
        tasks: The tasks to look among; the seven of MOTS by default.

    Raises:
        KeyError: If no task is called so; the message lists those there are.

    Example:
        >>> task_named("colon").labelled
        (False, True)
    """
    for task in tasks:
        if task.name == name:
            return task
    known = ", ".join(task.name for task in tasks)
    raise UnknownNameError(f"unknown task {name!r}; this model has: {known}")
