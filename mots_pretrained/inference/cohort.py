"""A folder of scans: which files make up each, and what is written of them, whatever fails."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mots_pretrained.data.layouts.collection import CaseFiles
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.images.scan_files import stem
from mots_pretrained.inference.ahead import ahead
from mots_pretrained.inference.channel_files import check_complete, folder_scans, one_scan
from mots_pretrained.inference.dicom_scans import (
    dicom_scans,
    listed_as,
    may_be_dicom,
    rows_of,
    source_of,
    state_of,
    warn_of_others,
)
from mots_pretrained.inference.failures import Failure, write_failures
from mots_pretrained.stages import stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mots_pretrained.config import ModelConfig
    from mots_pretrained.images.preprocess import PlaneStream
    from mots_pretrained.images.volume import Volume
    from mots_pretrained.inference.prediction import Prediction
    from mots_pretrained.inference.predictor import Predictor
    from mots_pretrained.inference.sliding_window import OnWindow

Write = Callable[["Prediction", CaseFiles], dict[str, Any]]
"""Function that writes the files of a scan's prediction and returns a report of them."""


def check_places(given: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> None:
    """Refuse scans that are not there, and a folder for the results that can't be one.

    Raises:
        MissingFileError: If a file is missing.
        UserError: If a folder holds no scan, stands beside others, or is the output as well.
    """
    if os.path.exists(output) and not os.path.isdir(output):
        raise UserError(f"{output} is a file; give a folder for the results")
    for path in given:
        if os.path.isdir(path) and os.path.exists(output) and os.path.samefile(path, output):
            raise UserError(f"{output} holds the scans; give another folder for the results")
    if not (len(given) == 1 and may_be_dicom(Path(given[0]))):  # which takes long to look through
        _found([Path(path) for path in given], 1)


def find_scans(
    given: Sequence[str | os.PathLike[str]],
    channels: int | Sequence[str],
    *,
    series: str | None = None,
) -> list[CaseFiles]:
    """Find the scans among files and folders for a model of some channels.

    Files are the channels of one scan. Of a folder every NIfTI file is a scan, but none of its
    sub-folders, and for a model of several channels the files CASE_0000, CASE_0001, ... make up the
    scan CASE, in the order of the model where a ``dataset.json`` names them; for one channel
    CASE_0000 is the scan CASE where all files of the folder are named so, as nnU-Net wants. A
    folder may be that of one case of BraTS, or hold several, each in a folder of its own, whose
    sequences come in the order of the model; or DICOM series, as does a zip: see `dicom_scans`.
    NRRD and MetaImage files count as NIfTI does.

    Args:
        given: Files, or one folder.
        channels: Names of the channels of the model's input, in order; or their number alone, and
            BraTS's sequences are t1, t1ce, t2, flair.
        series: UID, number or description of the DICOM series wanted.

    Returns:
        The scans. One that lacks the file of a channel names it nevertheless, so that it fails
        where it is read.

    Raises:
        MissingFileError: If a file is missing.
        UnknownNameError: If there is no such series.
        UserError: If a folder holds no scan or stands beside others, two scans have one name, a
            series is wanted of what is not DICOM, or the model's channels are not BraTS's.

    Warns:
        UserWarning: If files are named after other sequences than they are given for, or channels
            that have no names are taken for BraTS's; if DICOM or files of sub-folders are passed
            over; or if studies lack the series wanted.
    """
    paths = [Path(path) for path in given]
    if len(paths) == 1 and paths[0].is_dir():
        warn_of_others(paths[0])
    return _found(paths, channels, series)


def _found(
    paths: list[Path], channels: int | Sequence[str], series: str | None = None
) -> list[CaseFiles]:
    """Find the scans, as `find_scans` says."""
    for path in paths:
        if not path.exists():
            raise MissingFileError(
                f"no such file: {path}; give an existing .nii or .nii.gz file, or a DICOM series"
            )
    folders = [path for path in paths if path.is_dir()]
    if len(paths) == 1 and may_be_dicom(paths[0]):
        return _checked(dicom_scans(paths[0], series), paths[0])
    if series is not None:
        raise UserError(f"{paths[0]} is no DICOM; --series chooses among DICOM series only")
    if not folders:
        return [one_scan(paths, channels)]
    if len(paths) > 1:
        if all(may_be_dicom(path) for path in folders):  # a series a channel
            return [CaseFiles(stem(paths[0]), tuple(paths))]
        raise UserError(f"{folders[0]} is a folder; give one folder, or files only")
    return _checked(folder_scans(folders[0], channels), folders[0])


def is_cohort(given: Sequence[str | os.PathLike[str]], scans: Sequence[CaseFiles]) -> bool:
    """Whether what was given is a folder of scans, and not a DICOM series' own folder."""
    alone = len(scans) == 1 and scans[0].images[0] == Path(given[0])
    return os.path.isdir(given[0]) and not alone


def refer_to_dicom(scans: Sequence[CaseFiles]) -> bool:
    """Whether every scan lies in DICOM series, so that results may refer to them."""
    return all(scan.series is not None or may_be_dicom(scan.images[0]) for scan in scans)


def check_sources(scans: Sequence[CaseFiles], output: str | os.PathLike[str]) -> None:
    """Refuse scans whose results would replace those of other scans with the same name.

    Raises:
        UserError: If ``output`` has results that were made of other files.
    """
    from mots_pretrained.inference.outputs import VOLUMES, is_withdrawn, sources_of, told_of

    for scan in scans:
        report = told_of(output, scan.name)
        there = sources_of(output, report)
        if is_withdrawn(report) and not any(map(os.path.exists, there)):
            continue  # a damaged file that another has replaced, say
        if there and there != source_of(scan):
            raise UserError(
                f"{output} holds results of another scan called {scan.name} ({there[0]}); give "
                f"another folder, or remove {VOLUMES.format(scan.name)} and what lies beside it"
            )


def segment_scans(
    predictor: Predictor,
    scans: Sequence[CaseFiles],
    write: Write,
    *,
    formats: Sequence[str] = ("nifti",),
    output: str | os.PathLike[str] | None = None,
    on_window: Callable[[str], OnWindow] | None = None,
    on_scan: Callable[[dict[str, Any] | Failure], None] | None = None,
) -> tuple[list[dict[str, Any]], list[Failure]]:
    """Segment scans; while the network works, the next is read and the one before is written.

    At most three scans are in memory, and one where the predictor's memory is bounded. What fails
    is listed and the others go on.

    Args:
        predictor: The network to use.
        scans: The scans.
        write: Function that writes the files of a scan's prediction and returns a report of them;
            called in a thread of its own, one scan after the other.
        formats: Names of `images.segmentation.FORMATS` that ``write`` writes; a scan of which one
            can't be written fails before the network runs.
        output: Folder for ``failures.csv``, in which the scans of this call replace their rows of
            earlier ones; what was found of a scan that fails no longer counts. None raises the
            first error instead.
        on_window: Function from a scan's name to the callback for its windows.
        on_scan: Callback that receives each scan's report or failure, in the scans' order.

    Returns:
        The reports, with the seconds that each scan took, and the failures.
    """
    settled = Settled(output, on_scan)

    def settle(item: _InWork) -> None:
        if item.error is None:
            settled.done(item.scan, {**item.result, "seconds": round(item.seconds, 2)})
        elif output is None:
            raise item.error
        else:
            settled.fail(item.scan, Failure.of(listed_as(item.scan), item.error))

    def read(scan: CaseFiles) -> _InWork:
        item = _InWork(scan)

        def work(_: object) -> Any:
            check_complete(scan, predictor.config.preprocessing.channels)
            item.scan = dataclasses.replace(scan, state=state_of(scan))
            return _read(predictor, scan, formats)

        return item.step("read", work)

    def segment(item: _InWork) -> None:
        windows = on_window and on_window(item.scan.name)
        item.step("segment", lambda read: predictor.segment(*read, on_window=windows))

    def store(item: _InWork) -> _InWork:
        return item.step("write", lambda found: write(found, item.scan))

    alone = predictor.bound is not None
    read_ahead = (read(scan) for scan in scans) if alone else ahead(map(read, scans))
    with closing(read_ahead), ThreadPoolExecutor(1) as writer:
        writing: Future[_InWork] | None = None
        for item in read_ahead:
            segment(item)
            if writing is not None:
                settle(writing.result())
            writing = writer.submit(store, item)
            if alone:
                settle(writing.result())
                writing = None
        if writing is not None:
            settle(writing.result())
    return settled.reports, settled.failures


@dataclass
class Settled:
    """What has become of a run's scans, and the list of failures that stands beside the results.

    Attributes:
        output: Folder for ``failures.csv``, if any.
        on_scan: Callback that receives each scan's report or failure.
        reports: The reports so far.
        failures: The failures so far.
    """

    output: str | os.PathLike[str] | None
    on_scan: Callable[[dict[str, Any] | Failure], None] | None = None
    reports: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def done(self, scan: CaseFiles, report: dict[str, Any]) -> None:
        """Receive the report of a scan whose results are written."""
        self.reports.append(report)
        self._tell(scan, report)

    def fail(self, scan: CaseFiles, failure: Failure) -> None:
        """Receive what a scan has failed by; results of an earlier run no longer count."""
        from mots_pretrained.inference.outputs import withdraw

        if self.output is not None:
            with suppress(OSError):  # such as for a name that is too long to have results
                withdraw(self.output, scan.name)
        self.failures.append(failure)
        self._tell(scan, failure)

    def _tell(self, scan: CaseFiles, told: dict[str, Any] | Failure) -> None:
        self.seen += rows_of(scan)
        if self.output is not None:
            write_failures(self.output, self.failures, self.seen)
        if self.on_scan is not None:
            self.on_scan(told)


@dataclass
class _InWork:
    """A scan on its way, what the last step made of it, or the error that ended it."""

    scan: CaseFiles
    result: Any = None
    error: Exception | None = None
    seconds: float = 0.0

    def step(self, name: str, work: Callable[[Any], Any]) -> _InWork:
        """Replace the result by what a step makes of it, unless one before has failed."""
        if self.error is None:
            start, given, self.result = time.monotonic(), self.result, None
            try:
                with stage(name, scan=self.scan.name):
                    self.result = work(given)
            except Exception as error:
                self.error = error
            self.seconds += time.monotonic() - start
        return self


def write_results(
    prediction: Prediction,
    output: str | os.PathLike[str],
    *,
    masks: bool = False,
    picture: bool = True,
    probabilities: bool = False,
    formats: Sequence[str] = ("nifti",),
    files: Sequence[Path] = (),
    told: Mapping[str, Any] | None = None,
    config: ModelConfig | None = None,
    model: str = "",
) -> dict[str, Any]:
    """Write a prediction's picture, label map and volumes, these last; old ones are withdrawn.

    Args:
        prediction: What was found.
        output: Folder to write into, made if need be.
        masks: Write each category's own mask as well.
        picture: Write the picture.
        probabilities: Write the probabilities, which the predictor must have kept.
        formats: Names of `images.segmentation.FORMATS`.
        files: The scan's files, to be recorded.
        told: Further entries of the file of volumes.
        config: The network's configuration; with it, what speaks against the prediction is told.
        model: Name of the model, to be recorded and shown.

    Returns:
        What `save_prediction` returns, and with a picture its path as ``overlay``.
    """
    from mots_pretrained.inference.outputs import OVERLAY, begin_anew, save_prediction

    begin_anew(output, prediction)
    drawn = {}
    if picture:
        from mots_pretrained.report.overlay import draw_overlay

        overlay = Path(output) / OVERLAY.format(prediction.volume.name)
        overlay.parent.mkdir(parents=True, exist_ok=True)
        draw_overlay(
            prediction.volume,
            prediction.labels,
            overlay,
            values=prediction.values,
            volumes=prediction.volumes,
            title=f"{prediction.volume.name}, segmented by {model}" if model else None,
        )
        drawn = {"overlay": str(overlay)}
        told = {**(told or {}), "results": [overlay.name]}
    report = save_prediction(
        prediction,
        output,
        masks=masks,
        probabilities=probabilities,
        formats=formats,
        files=files,
        told=told,
        config=config,
        model=model,
    )
    return {**report, **drawn}


def _read(
    predictor: Predictor, scan: CaseFiles, formats: Sequence[str]
) -> tuple[Volume, NDArray[np.float32] | PlaneStream]:
    from mots_pretrained.images.reading import read_channels
    from mots_pretrained.images.segmentation import check_writable

    volume = read_channels(scan.images, series=scan.series)
    volume = dataclasses.replace(volume, name=scan.name)
    check_writable(volume, formats)
    return predictor.prepare(volume)


def _checked(scans: list[CaseFiles], folder: Path) -> list[CaseFiles]:
    taken: dict[str, Path] = {}
    for scan in scans:
        name = scan.name.casefold()
        if name in taken:
            raise UserError(
                f"{folder} holds {taken[name].name} and {scan.images[0].name}, whose results would "
                "be one file"
            )
        taken[name] = scan.images[0]
    return scans
