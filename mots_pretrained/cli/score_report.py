"""What ``mots evaluate`` leaves behind: a CSV file, and text tables or one JSON object."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mots_pretrained.cli import console
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.evaluation.domains import domain_means, domain_text
from mots_pretrained.evaluation.long_csv import case_scores, read_case_scores, write_long_csv
from mots_pretrained.evaluation.metrics import METRICS
from mots_pretrained.evaluation.paired import Difference, compare, comparison_text
from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.rules import Rule
from mots_pretrained.evaluation.seeds import seeds_as_json, seeds_as_text
from mots_pretrained.evaluation.table9 import hausdorff_column, over_results, table9_text


@dataclass(frozen=True)
class ScoreReport:
    """What is wanted of an evaluation's results.

    Attributes:
        name: Who made the predictions: the model, or the folder.
        setting: What was scored, and how.
        csv: File to write every value of every case to, or nothing.
        against: Another run's CSV to compare with case by case, or nothing.
        table9: Whether to print in the shape of Table 9.
        paper: Whether to put the paper's figures beside.
        json: Whether to print one JSON object instead of tables.
    """

    name: str
    setting: str = ""
    csv: str = ""
    against: str = ""
    table9: bool = False
    paper: bool = False
    json: bool = False

    def check(self, metrics: tuple[str, ...], rule: Rule) -> None:
        """Find fault with what is wanted before the work rather than after it.

        Raises:
            FileNotFoundError: If the CSV has no folder, or the one to compare with is not there.
            ValueError: If a metric that a table needs is not measured.
        """
        folder = os.path.dirname(self.csv) or "."
        if not os.path.isdir(folder):
            raise MissingFileError(f"no such folder: {folder}; make it, or write elsewhere")
        if os.path.isdir(self.csv):
            raise UserError(f"{self.csv} is a folder; give a CSV file to write")
        needed = ["dice", hausdorff_column(rule)] if self.table9 else []
        needed += ["dice"] if self.against else []
        if missing := [name for name in needed if name not in metrics]:
            raise UserError(f"that table needs {missing[0]}; add it to --metrics")
        if self.against:
            read_case_scores(self.against)

    def show(self, results: Mapping[int, Results], *, everywhere: bool = False) -> None:
        """Write the CSV file, and print the rest.

        Args:
            results: By seed.
            everywhere: Whether every category was scored on every domain.
        """
        if self.csv:
            machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
            write_long_csv(self.csv, results, row=self.name, setting=self.setting, machine=machine)
        differences = self._differences(results)
        if self.json:
            console.show_json(self._json(results, differences, everywhere))
            return
        first = next(iter(results.values()))
        console.show(seeds_as_text(results) if len(results) > 1 else first.as_text())
        if everywhere:
            for metric in first.metrics:
                means = domain_means(results.values(), metric)
                console.show(f"\n{domain_text(means, metric=metric)}")
        if self.table9:
            rows = {self.name: over_results(results.values())}
            hd = METRICS[hausdorff_column(first.rule)].title
            console.show(f"\n{table9_text(rows, paper=self.paper)}")
            console.show(f"HD of {self.name}: {hd}; the paper gives no unit, its code takes voxels")
        if self.against:
            other = os.path.basename(self.against)
            console.show(f"\nDice\n{comparison_text(differences, names=(self.name, other))}")
        if self.csv:
            console.show(f"\nevery case: {self.csv}")

    def _differences(self, results: Mapping[int, Results]) -> tuple[Difference, ...]:
        if not self.against:
            return ()
        return compare(case_scores(results), read_case_scores(self.against))

    def _json(
        self, results: Mapping[int, Results], differences: tuple[Difference, ...], everywhere: bool
    ) -> dict[str, Any]:
        first = next(iter(results.values()))
        values = seeds_as_json(results) if len(results) > 1 else first.as_json()
        values = {"name": self.name, **values}
        if everywhere:
            values["domains"] = {m: domain_means(results.values(), m) for m in first.metrics}
        if self.against:
            values["differences"] = [_without_nan(asdict(one)) for one in differences]
        return values


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """Replace an interval that is not there by nulls, JSON having no NaN."""
    return {key: None if value != value else value for key, value in values.items()}
