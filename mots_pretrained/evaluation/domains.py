"""Every category on every domain: what partial labels hide and a phantom's whole truth shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from mots_pretrained.evaluation.metrics import METRICS
from mots_pretrained.evaluation.results import Results, digits_of
from mots_pretrained.evaluation.rules import is_missed
from mots_pretrained.evaluation.table import aligned, shown
from mots_pretrained.tasks import MOTS_TASKS, Task

DomainMeans = dict[str, dict[str, float | None]]
"""A metric's mean by domain and category; None where no case could be scored."""


def domain_means(results: Iterable[Results], metric: str = "dice") -> DomainMeans:
    """Return a metric's mean over the cases of each domain, by category.

    Args:
        results: Of one seed or more; their cases are taken together.
        metric: Which metric.

    Returns:
        By group (collection or domain), then by category.
    """
    values: dict[str, dict[str, list[float]]] = {}
    for one in results:
        for case, scores in one.cases.items():
            row = values.setdefault(one.groups.get(case, ""), {n: [] for n in one.categories})
            for name, found in scores.items():
                score = found[metric]
                is_distance = METRICS[metric].unit != "share"
                if score is not None and not (is_distance and is_missed(score)):
                    row[name].append(score)
    return {
        domain: {name: fmean(scores) if scores else None for name, scores in row.items()}
        for domain, row in values.items()
    }


def domain_text(
    means: DomainMeans, *, metric: str = "dice", tasks: Sequence[Task] = MOTS_TASKS
) -> str:
    """Return a line a category, a column a domain; a star marks what the domain's own labels show.

    The last two lines are the means over the categories with a star, and over those without.
    """
    own = {task.name: {*task.categories} for task in tasks}
    categories = list(dict.fromkeys(name for row in means.values() for name in row))
    digits = digits_of(metric)
    rows = [(METRICS[metric].title, *means)]
    for name in categories:
        cells = (
            shown(row.get(name), digits) + ("*" if name in own.get(domain, ()) else " ")
            for domain, row in means.items()
        )
        rows.append((name, *cells))
    for title, labelled in (("mean, labelled there*", True), ("mean, labelled elsewhere", False)):
        cells = (
            shown(_mean(row, {n for n in row if (n in own.get(domain, ())) is labelled}), digits)
            + " "
            for domain, row in means.items()
        )
        rows.append((title, *cells))
    return aligned(rows)


def _mean(row: dict[str, float | None], names: set[str]) -> float | None:
    known = [score for name in names if (score := row[name]) is not None]
    return fmean(known) if known else None
