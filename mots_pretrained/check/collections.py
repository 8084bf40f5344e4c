"""Are the collections fit to train on? Every case checked, and all of them against each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mots_pretrained.check.anatomy import AXES
from mots_pretrained.check.case import CaseCheck, Finding, Picture, check_case
from mots_pretrained.data.layouts import CaseFiles, Collection
from mots_pretrained.data.workers import work_off
from mots_pretrained.tasks import Task

_FEW = 5  # cases, of which none can be called an outlier
_FAR = 6.0  # robust standard deviations
_FACTOR = 3.0  # in spacing, at least, from the collection's median
_HU = 100.0  # at least, from the collection's median


@dataclass(frozen=True)
class CheckReport:
    """What `check_collections` found.

    Attributes:
        collections: What was checked.
        cases: Every labelled case, in the order of the collections.
        findings: Findings of all cases and collections, problems first.
    """

    collections: tuple[Collection, ...]
    cases: tuple[CaseCheck, ...]
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What to mend before training."""
        return tuple(finding for finding in self.findings if finding.problem)

    def of(self, collection: Collection) -> tuple[CaseCheck, ...]:
        """Return the cases of a collection."""
        return tuple(case for case in self.cases if case.collection == collection.name)

    def problems_of(self, collection: Collection) -> tuple[Finding, ...]:
        """Return the problems of a collection and its cases; one may be of several collections."""
        own = {case.identifier for case in self.of(collection)}
        return tuple(
            finding
            for finding in self.problems
            if finding.collection == collection.name or own & {finding.case, *finding.others}
        )

    def orientation(self, collection: Collection) -> dict[str, str]:
        """Say of each axis how many cases are upright, or that their labels cannot tell."""
        told = {}
        for axis in AXES:
            votes = Counter(c.verdicts[axis] for c in self.of(collection) if c.verdicts)
            seen = sum(votes[verdict] for verdict in ("upright", "flipped"))
            if votes["flipped"]:
                told[axis] = f"flipped in {votes['flipped']} of {seen}"
            else:
                told[axis] = f"upright in {seen} of {votes.total()}" if seen else "cannot be told"
        return told


def check_collections(
    collections: Sequence[Collection],
    split: Mapping[str, str],
    *,
    workers: int = 1,
    picture: Picture | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> CheckReport:
    """Check every labelled case by itself, and the cases against each other.

    Args:
        collections: What `layouts.find_collections` found.
        split: ``"train"``, ``"validation"`` or ``"test"`` by identifier: no scan may be in two.
        workers: Processes; 1 for this one alone.
        picture: Draws a case; a function that other processes can import.
        progress: Callback ``progress(name, done, total)`` after every case.

    Raises:
        UserError: If a collection is not of organ and tumour, or a worker process died.
    """
    jobs = [
        _Job(case, collection.supervises, collection.name)
        for collection in collections
        for case in collection.labelled
    ]
    done: dict[_Job, CaseCheck] = {}
    for job, check in work_off(partial(_check, picture=picture), jobs, workers=workers):
        done[job] = check
        if progress is not None:
            progress(check.identifier, len(done), len(jobs))
    cases = [done[job] for job in jobs]
    findings = [finding for check in cases for finding in check.findings]
    findings += _duplicates(cases, split)
    for collection in collections:
        own = [check for check in cases if check.collection == collection.name]
        findings += [*_unlabelled(collection), *_flips(collection, own), *_outliers(own)]
    findings.sort(key=lambda finding: not finding.problem)
    return CheckReport(tuple(collections), tuple(cases), tuple(findings))


class _Job(NamedTuple):
    """A case to check."""

    case: CaseFiles
    task: Task
    collection: str


def _check(job: _Job, *, picture: Picture | None) -> CaseCheck:
    return check_case(job.case, job.task, job.collection, picture=picture)


def _duplicates(cases: Iterable[CaseCheck], split: Mapping[str, str]) -> Iterator[Finding]:
    """Find scans that are the same voxel for voxel, also where a header mirrors or turns one."""
    groups: dict[str, list[CaseCheck]] = defaultdict(list)
    for check in cases:
        if check.values is not None:
            groups[check.values].append(check)
    for same in groups.values():
        if len(same) == 1:
            continue
        parts = {split[check.identifier] for check in same}
        void = "test" if "test" in parts else "validation"
        names = " and ".join(f"{c.identifier} ({split[c.identifier]})" for c in same)
        collections = {check.collection for check in same}
        yield Finding(
            "duplicate",
            f"{names} are the same scan"
            + (", mirrored or turned" if len({check.content for check in same}) > 1 else "")
            + (f"; take it out of training, or the {void} is void" if len(parts) > 1 else ""),
            same[0].identifier,
            collections.pop() if len(collections) == 1 else "",
            problem=len(parts) > 1,
            others=tuple(check.identifier for check in same[1:]),
        )


def _unlabelled(collection: Collection) -> Iterator[Finding]:
    """Tell of cases without a label map: a challenge's own test, or a file that is missing."""
    bare = [case for case in collection.cases if not case.label_files]
    if bare:
        text = f"{len(bare)} without label map, such as {bare[0].name}"
        yield Finding("labels", text, "", collection.name, problem=False)


def _flips(collection: Collection, cases: Sequence[CaseCheck]) -> Iterator[Finding]:
    """Name a flipped collection as one, else the flipped cases one by one."""
    for axis in AXES:
        told = [c for c in cases if c.verdicts.get(axis) in ("upright", "flipped")]
        flipped = [c for c in told if c.verdicts[axis] == "flipped"]
        if len(flipped) > 1 and 2 * len(flipped) > len(told):
            text = (
                f"{len(flipped)} of {len(told)} cases look flipped {axis}, such as "
                f"{flipped[0].identifier} ({_evidence(flipped[0], axis)}); correct the headers"
            )
            yield Finding("anatomy", text, "", collection.name)
            continue
        for check in flipped:
            text = f"looks flipped {axis}: {_evidence(check, axis)}"
            yield Finding("anatomy", text, check.identifier, collection.name)


def _evidence(check: CaseCheck, axis: str) -> str:
    against = [r for r in check.readings if r.axis == axis and r.strength <= -1]
    return min(against, key=lambda reading: reading.strength).text


def _outliers(cases: Sequence[CaseCheck]) -> Iterator[Finding]:
    """Find spacings and HU far from the collection's own; worth a look, and often right."""
    read = [check for check in cases if check.spacing is not None]
    if len(read) < _FEW:
        return
    for axis, name in ((0, "slice distance"), (2, "pixel size")):
        steps = np.array([check.spacing[axis] for check in read if check.spacing is not None])
        for at in _far(np.log(steps), float(np.log(_FACTOR))):
            text = f"{name} {steps[at]:.3g} mm, where the collection's median is "
            yield _look(read[at], "spacing", f"{text}{np.median(steps):.3g} mm")
    bodies = [check for check in read if check.tissue is not None]
    tissues = np.array([check.tissue for check in bodies])
    for at in _far(tissues, _HU) if len(bodies) >= _FEW else ():
        text = f"the body's median is {tissues[at]:.0f} HU, where the collection's is "
        yield _look(bodies[at], "intensity", f"{text}{np.median(tissues):.0f} HU")


def _far(values: Any, least: float) -> list[int]:
    """Find the places of values far from the median, by the median deviation and by at least."""
    off = np.abs(values - np.median(values))
    limit = max(_FAR * 1.4826 * float(np.median(off)), least)
    return [int(at) for at in np.flatnonzero(off > limit)]


def _look(check: CaseCheck, kind: str, text: str) -> Finding:
    return Finding(kind, text, check.identifier, check.collection, problem=False)
