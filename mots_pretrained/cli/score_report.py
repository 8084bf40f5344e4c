"""What ``mots evaluate`` leaves behind: a CSV file, and text tables or one JSON object."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mots_pretrained.cli import console
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.evaluation.compare import Difference, compare, comparison_text, paired
from mots_pretrained.evaluation.metrics import METRICS, Rule
from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.table import (
    Line,
    from_lines,
    machine,
    read_lines,
    to_lines,
    write_lines,
)
from mots_pretrained.published.table9 import hausdorff_column, method_scores, table9_text

_MUST_AGREE = ("rule", "randomise", "on")
"""First words of what two runs must have in common to be compared."""


@dataclass(frozen=True)
class ScoreReport:
    """What is wanted of the results of an evaluation.

    Attributes:
        name: Who made the predictions: the model, or the folder.
        csv: File to write every value of every case to, or nothing.
        against: CSV of another run to compare with case by case, or nothing; if it is ``csv`` as
            well, its former content. ``FILE.csv:ROW`` is one row of a CSV of several.
        paper: Whether to print the shape of Table 9, with the paper's figures.
        json: Whether to print one JSON object instead of tables.
    """

    name: str
    csv: str = ""
    against: str = ""
    paper: bool = False
    json: bool = False

    def check(self, metrics: tuple[str, ...], rule: Rule) -> None:
        """Find fault with what is wanted before the work rather than after it.

        Raises:
            MissingFileError: If the CSV has no folder, or the one to compare with is not there.
            UserError: If a metric that a table needs is not measured.
        """
        folder = os.path.dirname(self.csv) or "."
        if not os.path.isdir(folder):
            raise MissingFileError(f"no such folder: {folder}; make it, or write elsewhere")
        if os.path.isdir(self.csv):
            raise UserError(f"{self.csv} is a folder; give a CSV file to write")
        needed = ["dice", hausdorff_column(rule)] if self.paper else []
        needed += ["dice"] if self.against else []
        if missing := [name for name in needed if name not in metrics]:
            raise UserError(f"that table needs {missing[0]}; add it to --metrics")
        if self.against:
            from_lines(self._other())

    def show(
        self,
        results: Results,
        *,
        setting: Sequence[str],
        grid: str,
        spacing: Sequence[float] = (),
        by_group: bool = False,
    ) -> None:
        """Write the CSV file, and print the rest.

        Args:
            results: The scores.
            setting: What was scored, and how, in words.
            grid: Whose grid was scored on.
            spacing: Its mm (D, H, W), where all cases have the same.
            by_group: Whether to print a column a domain as well.

        Raises:
            UserError: If the CSV to compare with has no case and category in common; at the end.
        """
        if results.missing:
            total = len(results.missing) + len(results.cases)
            warnings.warn(
                f"{len(results.missing)} of {total} true label maps have no prediction and are not "
                f"in the means: {', '.join(results.missing)}",
                stacklevel=2,
            )
        other = self._other() if self.against else []  # which the CSV may replace
        steps = f" of {' x '.join(f'{step:g}' for step in spacing)} mm" if spacing else ""
        setting = [*setting, f"on {grid} grid{steps}"]
        if self.csv:
            lines = to_lines(
                results,
                table="evaluate",
                row=self.name,
                setting=", ".join(setting),
                machine=machine(),
            )
            write_lines(self.csv, lines)
        differences: tuple[Difference, ...] = ()
        if self.against:
            self._warn_of_other_ways(setting, other)
            ours, theirs = paired(results, from_lines(other))
            if ours.keys() & theirs.keys():
                differences = compare(ours, theirs)
        if self.json:
            console.show_json({"grid": grid, **self._json(results, differences, by_group)})
        else:
            self._show_tables(results, differences, grid, by_group)
        if self.against and not differences:  # told last: the scores are not lost by it
            raise UserError(f"{self.against} scores none of these cases and categories")

    def _show_tables(
        self, results: Results, differences: tuple[Difference, ...], grid: str, by_group: bool
    ) -> None:
        console.show(results.as_text())
        if any(map(results.absent_cases, results.categories)):
            console.show(
                "without: cases that lack the category; clean: share of them where none of it is "
                "predicted; false ml: median volume predicted there"
            )
        if by_group:
            for metric in results.metrics:
                console.show(f"\n{results.groups_as_text(metric)}")
        if self.paper:
            console.show(f"\n{table9_text({self.name: method_scores(results)})}")
            hd = METRICS[hausdorff_column(results.rule)].title
            console.show(
                f"HD of {self.name}: {hd}, on {grid} grid; the published testing takes HD95 in "
                "voxels, both directions pooled, on the scans' own grids"
            )
        if differences:
            names = self.name, os.path.basename(self.against)
            console.show(f"\nDice\n{comparison_text(differences, names=names)}")
        if self.csv:
            console.show(f"\nevery case: {self.csv}")

    def _other(self) -> list[Line]:
        """Read the lines of the run to compare with."""
        file, named, row = self.against.rpartition(".csv:")
        if named and not os.path.exists(self.against):
            return read_lines(f"{file}.csv", row=row)
        return read_lines(self.against)

    def _warn_of_other_ways(self, setting: Sequence[str], lines: Sequence[Line]) -> None:
        """Warn where scores do not compare: by another rule, on another grid or other phantoms."""
        theirs = {part for line in lines for part in line["setting"].split(", ")}
        for part in ", ".join(setting).split(", "):
            word = part.partition(" ")[0]
            other = sorted(one for one in theirs if one.startswith(f"{word} "))
            known = {part, part.partition(" of ")[0]}  # CSVs of old tell no spacing
            if word in _MUST_AGREE and other and known.isdisjoint(other):
                warnings.warn(
                    f"{self.against} was scored otherwise: {', '.join(other)}, here {part}; the "
                    "differences say nothing of the models alone",
                    stacklevel=3,
                )

    def _json(
        self, results: Results, differences: tuple[Difference, ...], by_group: bool
    ) -> dict[str, Any]:
        values = {"name": self.name, **results.as_json()}
        if by_group:
            values["domains"] = {metric: results.by_group(metric) for metric in results.metrics}
        if self.against:
            values["differences"] = [_without_nan(asdict(one)) for one in differences]
        return values


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """Replace an interval that is not there by nulls, since JSON has no NaN."""
    return {key: None if value != value else value for key, value in values.items()}
