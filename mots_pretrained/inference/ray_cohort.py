"""A folder of scans on a Ray cluster: one actor a device, and what fails is tried on another."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mots_pretrained.data.ray_workers import connected
from mots_pretrained.errors import UserError
from mots_pretrained.inference.cohort import Settled, Write, segment_scans
from mots_pretrained.inference.dicom_scans import listed_as
from mots_pretrained.inference.failures import Failure
from mots_pretrained.inference.resume import tidy
from mots_pretrained.stages import stage

if TYPE_CHECKING:
    from mots_pretrained.data.layouts.collection import CaseFiles
    from mots_pretrained.inference.predictor import Predictor

Build = Callable[[str], tuple["Predictor", Write]]
"""Function from a device to the network there and to what writes its results; picklable."""

MOST_TRIES = 3
"""How often a scan is tried that fails by no fault of its own: by a machine's, say."""

_PATIENCE = 600.0  # seconds without an actor at work until the rest is given up
_MOST_STARTS = 4  # of a device's actors that are lost one after the other while they start


def segment_scans_by_ray(
    build: Build,
    scans: Sequence[CaseFiles],
    *,
    output: str | os.PathLike[str],
    device: str = "auto",
    formats: Sequence[str] = ("nifti",),
    on_scan: Callable[[dict[str, Any] | Failure], None] | None = None,
) -> tuple[list[dict[str, Any]], list[Failure]]:
    """Segment scans on all machines of a Ray cluster, which share a disk.

    Each device has an actor with a network of its own; a scan goes to an actor that is free, and is
    told of when it is done. A scan whose machine was lost, or that failed, is tried again on
    another device, unless the scan itself is at fault (a UserError). A lost actor is made anew
    where there is a device for it; a device that loses four in a row before their network is loaded
    is given up.

    Args:
        build: Makes the network and the writing on an actor's machine.
        scans: The scans, by paths that all machines know.
        output: Folder of the results, which all machines reach; for ``failures.csv``.
        device: ``"cpu"``: an actor a machine, with its cores; ``"cuda"``: one a GPU; ``"auto"``:
            the latter where there are any.
        formats: As of ``segment_scans``.
        on_scan: Callback that receives each scan's report or failure, in the order of their ends.

    Returns:
        The reports and the failures, both in the scans' order.

    Raises:
        UserError: If Ray is not installed, or the cluster has no such device.

    Warns:
        UserWarning: Whatever reading, segmenting or writing a scan has warned of on its machine.
    """
    ray = connected()
    settled = Settled(output, on_scan)
    waiting = [_Try(scan) for scan in scans]
    lost: list[CaseFiles] = []
    crew = _Crew(ray, build, formats, *_devices(ray, device))
    crew.hire(min(crew.most, len(scans)))
    with stage("segment", scans=len(scans), actors=crew.most):
        while waiting or crew.at_work:
            crew.assign(waiting)
            for one, end in crew.wait():
                for text in end.warnings:
                    warnings.warn(text, stacklevel=2)
                if end.failure is None:
                    settled.done(one.scan, end.report)
                elif end.is_final or len(one.by) >= MOST_TRIES:
                    settled.fail(one.scan, end.failure)
                else:
                    one.last = end.failure
                    waiting.append(one)
                if end.is_lost:
                    lost.append(one.scan)
            if not crew.alive:
                while waiting:
                    one = waiting.pop(0)
                    none = _lost(one.scan, "no machine of the cluster is left")
                    settled.fail(one.scan, one.last or none)
    for scan in lost:  # by now its process has ended, too
        tidy(output, scan)
    places = {scan.name: number for number, scan in enumerate(scans)}
    files = {listed_as(scan): number for number, scan in enumerate(scans)}
    return (
        sorted(settled.reports, key=lambda report: places.get(report["scan"], 0)),
        sorted(settled.failures, key=lambda failure: files.get(failure.file, 0)),
    )


@dataclass
class _Try:
    """A scan, the numbers of the devices that have tried it, and what the last try failed by."""

    scan: CaseFiles
    by: list[int] = field(default_factory=list)
    last: Failure | None = None


@dataclass(frozen=True)
class _End:
    """How a try has ended: a report; or a failure, the scan's own and final or its machine's.

    Attributes:
        warnings: What the try has warned of, each text once.
    """

    failure: Failure | None
    report: dict[str, Any] = field(default_factory=dict)
    is_final: bool = False
    is_lost: bool = False
    warnings: tuple[str, ...] = ()


class _Crew:
    """The actors of a run, one a device; the one that takes a lost actor's place has its number.

    Args:
        ray: Ray.
        build: As of ``segment_scans_by_ray``.
        formats: Likewise.
        most: Devices of the cluster.
        needs: What an actor asks of Ray.
        device: torch's name of the device that an actor gets.
    """

    def __init__(
        self,
        ray: Any,
        build: Build,
        formats: Sequence[str],
        most: int,
        needs: dict[str, Any],
        device: str,
    ) -> None:
        self.ray, self.most, self.needs = ray, most, needs
        self.given = build, formats, device, os.getcwd()  # to every actor
        self.lost_starts: Counter[int] = Counter()
        self.free: dict[int, Any] = {}
        self.starting: dict[Any, tuple[int, Any]] = {}
        self.at_work: dict[Any, tuple[int, Any, _Try]] = {}

    @property
    def alive(self) -> set[int]:
        """Numbers of the devices whose actors work, wait for work or start."""
        starting = {number for number, _ in self.starting.values()}
        return {*self.free, *starting, *(number for number, _, _ in self.at_work.values())}

    def hire(self, count: int) -> None:
        """Start an actor on so many devices; each is free once its network is loaded."""
        for number in range(count):
            self._start(number)

    def _start(self, number: int) -> None:
        actor = self.ray.remote(**self.needs)(_Actor).remote(*self.given)
        self.starting[actor.ready.remote()] = number, actor

    def assign(self, waiting: list[_Try]) -> None:
        """Give every free actor a scan that its device has not tried, or one that all have."""
        for number in [*self.free]:
            alive = self.alive
            fits = [one for one in waiting if number not in one.by or alive <= {*one.by}]
            for one in fits[:1]:
                waiting.remove(one)
                one.by.append(number)
                actor = self.free.pop(number)
                self.at_work[actor.segment.remote(one.scan)] = number, actor, one

    def wait(self) -> list[tuple[_Try, _End]]:
        """Wait for an actor to come, to end a scan or to be lost; return the scan with its end.

        If none is at work and none comes within ten minutes, those that start are given up.

        Raises:
            Exception: What loading the network raised.
        """
        ready, _ = self.ray.wait(
            [*self.at_work, *self.starting], timeout=None if self.at_work else _PATIENCE
        )
        if not ready:
            self.starting.clear()
            return []
        if ready[0] in self.starting:
            self._came(ready[0])
            return []
        number, actor, one = self.at_work.pop(ready[0])
        try:
            end = self.ray.get(ready[0])
        except self.ray.exceptions.RayError as error:
            self._start(number)
            told = " ".join(f"{error}".split())
            lost = _lost(one.scan, f"its machine was lost: {told:.100}")
            return [(one, _End(lost, is_lost=True))]
        self.free[number] = actor
        return [(one, end)]

    def _came(self, ready: Any) -> None:
        number, actor = self.starting.pop(ready)
        try:
            failed = self.ray.get(ready)
        except self.ray.exceptions.RayError:
            self.lost_starts[number] += 1
            if self.lost_starts[number] < _MOST_STARTS:
                self._start(number)
            return
        if failed is not None:
            raise failed
        self.lost_starts[number] = 0
        self.free[number] = actor


class _Actor:
    """A network on a device of a machine, and what writes its results."""

    def __init__(self, build: Build, formats: Sequence[str], device: str, folder: str) -> None:
        self.formats = formats
        self.failed: Exception | None = None
        try:
            os.chdir(folder)  # the driver's, from which paths are given
            self.predictor, self.write = build(device)
        except Exception as error:
            kind = UserError if isinstance(error, UserError) else RuntimeError
            self.failed = kind(f"{error}")

    def ready(self) -> Exception | None:
        """Return what loading the network raised, if anything."""
        return self.failed

    def segment(self, scan: CaseFiles) -> _End:
        """Segment a scan and write its results; what it warns of is told by the driver."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            end = self._end_of(scan)
        texts = dict.fromkeys(str(warning.message) for warning in caught)
        return dataclasses.replace(end, warnings=tuple(texts))

    def _end_of(self, scan: CaseFiles) -> _End:
        try:
            reports, _ = segment_scans(self.predictor, [scan], self.write, formats=self.formats)
        except Exception as error:
            failure = Failure.of(listed_as(scan), error)
            return _End(failure, is_final=isinstance(error, UserError))
        return _End(None, reports[0])


def _lost(scan: CaseFiles, why: str) -> Failure:
    return Failure(listed_as(scan), "RuntimeError", why)


def _devices(ray: Any, device: str) -> tuple[int, dict[str, Any], str]:
    """Return how many devices the cluster has, what an actor asks for, and torch's name of it."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    if device == "cuda" and not gpus:
        raise UserError("the Ray cluster has no GPU; use --device cpu")
    if device in ("auto", "cuda") and gpus:
        shares = [node.get("CPU", 1) // node["GPU"] for node in nodes if node.get("GPU", 0) >= 1]
        return gpus, {"num_gpus": 1, "num_cpus": max(1, int(min(shares)))}, "cuda"
    if device not in ("auto", "cpu"):
        raise UserError(f"a Ray cluster takes --device auto, cpu or cuda, not {device!r}")
    cores = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    if not cores:
        raise UserError("the Ray cluster has no core to work on; start a node with some")
    return len(cores), {"num_cpus": min(cores), "scheduling_strategy": "SPREAD"}, "cpu"
