"""``mots predict``: segment a scan, or every scan of a folder."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mots_pretrained.cli import console
from mots_pretrained.errors import MissingFileError, UserError

if TYPE_CHECKING:
    from mots_pretrained.inference.predictor import Predictor

_SUFFIXES = (".nii", ".nii.gz")
_SECONDS_A_LINE = 20.0


def predict(
    scan: Annotated[
        list[str],
        typer.Option(
            "-i",
            "--input",
            help="NIfTI scan; one -i a channel if the model has several; or a folder",
        ),
    ],
    output: Annotated[str, typer.Option("-o", "--output", help="Folder for the results")],
    model: Annotated[
        str, typer.Option("-m", "--model", help="Name, folder or Hub repository")
    ] = "transdodnet.phantom",
    tasks: Annotated[
        str, typer.Option(help="Only these tasks, by commas: liver,spleen; all by default")
    ] = "",
    masks: Annotated[bool, typer.Option("--masks", help="Write a mask a category as well")] = False,
    submission: Annotated[
        str, typer.Option(help="Write what an online evaluation takes, bcv or brats, and no more")
    ] = "",
    flips: Annotated[
        bool, typer.Option("--flips", help="Average over eight mirror images; eight times slower")
    ] = False,
    postprocess: Annotated[
        bool,
        typer.Option("--postprocess", help="Keep largest parts, as the published testing does"),
    ] = False,
    overlap: Annotated[float, typer.Option(help="Of neighbouring windows, 0 to below 1")] = 0.5,
    batch: Annotated[int, typer.Option(help="Windows at once")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps; auto: the best there is")] = "auto",
    threads: Annotated[int, typer.Option(help="Of arithmetic; 0: torch's choice")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Segment a scan: a label map on its own grid, volumes in ml and a picture.

    For a folder, every NIfTI file in it is a scan, and gets files of its own; files X_0000, X_0001
    and so on are channels of one scan, as are those of a BraTS case in a folder of its own.
    """
    scans = _scans(scan, output)
    from mots_pretrained.inference.predictor import Predictor
    from mots_pretrained.inference.submission import check_submission
    from mots_pretrained.networks import load
    from mots_pretrained.training.machine import best_device, prepare_machine

    chosen = best_device(device)
    prepare_machine(chosen, threads=threads)
    predictor = Predictor(
        load(model),
        device=chosen,
        tasks=[task.strip() for task in tasks.split(",")] if tasks else None,
        overlap=overlap,
        flips=flips,
        batch=batch,
        postprocess=postprocess,
    )
    if submission:
        check_submission(submission, predictor.rule.names)
    console.say(f"Segmenting with {model} on {chosen}")
    several = Path(scan[0]).is_dir()
    reports, refused = [], []
    for paths in scans:
        try:
            if submission:
                reports.append(_submit(predictor, paths, output, submission))
            else:
                reports.append(_segment(predictor, paths, output, masks, model, several))
        except (ValueError, FileNotFoundError) as error:
            if not several:
                raise
            refused.append(str(error))
            console.say(f"left out: {error}")
    if json:
        console.show_json({"model": model, "scans": reports, "refused": refused})
    else:
        for report in reports:
            _show(report)
    if refused:
        more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        raise UserError(f"{len(refused)} of {len(scans)} scans were left out: {refused[0]}{more}")


def _scans(given: list[str], output: str) -> list[list[str]]:
    """List the scans as files a channel; the files of a folder are a scan each."""
    if os.path.exists(output) and not os.path.isdir(output):
        raise UserError(f"{output} is a file; give a folder for the results")
    folders = [path for path in given if os.path.isdir(path)]
    if not folders:
        for path in given:
            if not os.path.exists(path):
                raise MissingFileError(f"no such file: {path}; give an existing .nii or .nii.gz")
        return [given]
    if len(given) > 1:
        raise UserError(f"{folders[0]} is a folder; give one folder, or files only")
    folder = folders[0]
    if os.path.exists(output) and os.path.samefile(folder, output):
        raise UserError(f"{output} holds the scans; give another folder for the results")
    names = sorted(
        name
        for name in os.listdir(folder)
        if name.lower().endswith(_SUFFIXES) and not name.startswith(".")
    )
    if not names:
        from mots_pretrained.data.layouts.brats import find_brats

        found = find_brats(Path(folder))
        if found is None:
            raise UserError(f"{folder} holds no .nii or .nii.gz file; give a folder of scans")
        return [[os.fspath(path) for path in case.images] for case in found.cases]
    by_stem: dict[str, str] = {}
    for name in names:
        other = by_stem.setdefault(name.lower().removesuffix(".gz").removesuffix(".nii"), name)
        if other != name:
            raise UserError(f"{folder} holds {other} and {name}, whose results would be one file")
    channels: dict[str, list[str]] = {}
    for stem, name in by_stem.items():
        channels.setdefault(re.sub(r"_\d{4}$", "", stem), []).append(os.path.join(folder, name))
    if len(channels) < len(names) and all(re.search(r"_\d{4}$", stem) for stem in by_stem):
        return list(channels.values())
    return [[os.path.join(folder, name)] for name in names]


def _submit(predictor: Predictor, paths: list[str], output: str, kind: str) -> dict[str, Any]:
    """Predict one scan and write the one file that an online evaluation takes."""
    from mots_pretrained.images.volume import read_channels
    from mots_pretrained.inference.submission import save_submission

    volume = read_channels(paths)
    with _bar(volume.name) as progress:
        prediction = predictor(volume, progress=progress)
    return {
        "scan": volume.name,
        "segmentation": os.fspath(save_submission(prediction, output, kind)),
    }


def _segment(
    predictor: Predictor, paths: list[str], output: str, masks: bool, model: str, several: bool
) -> dict[str, Any]:
    """Predict one scan, write its files and return what the file of volumes says, and more."""
    from mots_pretrained.images.volume import read_channels
    from mots_pretrained.inference.outputs import save_prediction
    from mots_pretrained.report.overlay import draw_overlay

    start = time.monotonic()
    volume = read_channels(paths)
    with _bar(volume.name) as progress:
        prediction = predictor(volume, progress=progress)
    report = save_prediction(
        prediction,
        output,
        masks=masks,
        volumes=f"{volume.name}_volumes.json" if several else "volumes.json",
    )
    overlay = os.path.join(output, f"{volume.name}_overlay.png")
    draw_overlay(
        volume,
        prediction.labels,
        overlay,
        values=prediction.values,
        volumes=prediction.volumes,
        title=f"{volume.name}, segmented by {model}",
    )
    return {**report, "overlay": overlay, "seconds": round(time.monotonic() - start, 2)}


def _show(report: dict[str, Any]) -> None:
    if "volumes_ml" not in report:
        console.show(report["segmentation"])
        return
    console.show(f"{report['segmentation']}  ({report['seconds']:.0f} s; {report['overlay']})")
    found = {name: ml for name, ml in report["volumes_ml"].items() if ml}
    width = max(map(len, found), default=0)
    for name, ml in found.items():
        console.show(f"  {report['labels'][name]:>3}  {name:<{width}}  {ml:9.1f} ml")
    if not found:
        console.show("  nothing found")


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what shows the windows done: a bar on a terminal, a line now and then elsewhere."""
    if console.quiet() or not sys.stdout.isatty():
        last = time.monotonic()

        def say(done: int, count: int) -> None:
            nonlocal last
            if time.monotonic() - last > _SECONDS_A_LINE:
                last = time.monotonic()
                console.say(f"{name}: window {done} of {count}")

        yield say
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress("{task.description}", BarColumn(), MofNCompleteColumn(),
                  TimeRemainingColumn(), transient=True) as bar:  # fmt: skip
        row = bar.add_task(name)
        yield lambda done, count: bar.update(row, completed=done, total=count)
