"""``mots predict``: segment a scan, or every scan of a folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mots_pretrained.cli import FAILED, console

if TYPE_CHECKING:
    from mots_pretrained.data.layouts.collection import CaseFiles
    from mots_pretrained.inference.cohort import Failure
    from mots_pretrained.inference.prediction import Prediction

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
        str, typer.Option(help="Tasks to predict, comma-separated: liver,spleen; all by default")
    ] = "",
    masks: Annotated[
        bool, typer.Option("--masks", help="Write a binary file for each category as well")
    ] = False,
    submission: Annotated[
        str, typer.Option(help="Write only the file that an online evaluation takes: bcv or brats")
    ] = "",
    flips: Annotated[
        bool, typer.Option("--flips", help="Average over eight mirror images; eight times slower")
    ] = False,
    postprocess: Annotated[
        bool,
        typer.Option(
            "--postprocess", help="Keep largest parts only, as the published testing does"
        ),
    ] = False,
    overlap: Annotated[
        float, typer.Option(help="Share of a window that the next one covers again, 0 to below 1")
    ] = 0.5,
    batch: Annotated[int, typer.Option(help="Windows predicted at once")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps; auto: the best there is")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16 or (on cuda) float16")
    ] = "float32",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Segment a scan: a label map on its own grid, volumes in ml and a picture.

    In a folder every NIfTI file is a scan. For a model of several channels,
    files X_0000, X_0001, ... are one scan, and so are the files of a BraTS
    case in its own folder. Scans that fail are listed in failures.csv, and
    the others go on.
    """
    from mots_pretrained.inference.cohort import (
        check_places,
        check_sources,
        find_scans,
        segment_scans,
    )

    check_places(scan, output)
    from mots_pretrained.inference.predictor import Predictor
    from mots_pretrained.networks import load
    from mots_pretrained.training.machine import best_device, prepare_machine

    chosen = best_device(device)
    prepare_machine(chosen)
    predictor = Predictor(
        load(model),
        device=chosen,
        tasks=[task.strip() for task in tasks.split(",")] if tasks else None,
        overlap=overlap,
        flips=flips,
        batch=batch,
        precision=precision,  # type: ignore[arg-type]  # it is checked there
        postprocess=postprocess,
    )
    scans = find_scans(scan, len(predictor.config.preprocessing.channels))
    write = _writer(predictor.label_values, output, masks, submission, f"segmented by {model}")
    if not submission:
        check_sources(scans, output)
    console.say(f"Segmenting with {model} on {chosen}")
    with ExitStack() as bars:

        def show(told: dict[str, Any] | Failure) -> None:
            bars.close()
            if not json:
                _show(told)

        reports, failures = segment_scans(
            predictor,
            scans,
            write,
            output=output if Path(scan[0]).is_dir() else None,
            on_window=lambda name: bars.enter_context(_bar(name)),
            on_scan=show,
        )
    if json:
        refused = [failure._asdict() for failure in failures]
        console.show_json({"model": model, "scans": reports, "failures": refused})
    if failures:
        console.warn(
            f"{len(failures)} of {len(scans)} scans failed, the first with: {failures[0].reason} "
            f"(all are listed in {Path(output) / 'failures.csv'})"
        )
        raise typer.Exit(FAILED)


def _writer(
    label_values: dict[str, tuple[int, ...]], output: str, masks: bool, submission: str, title: str
) -> Callable[[Prediction, CaseFiles], dict[str, Any]]:
    """Return the function that writes a prediction's files, once it is sure that it can."""
    if submission:
        from mots_pretrained.inference.submission import check_submission, save_submission

        check_submission(submission, list(label_values))
        return lambda found, _: {
            "scan": found.volume.name,
            "segmentation": str(save_submission(found, output, submission)),
        }
    from mots_pretrained.images.segmentation import check_label_values
    from mots_pretrained.inference.cohort import write_results

    check_label_values(output, label_values)
    return lambda found, scan: write_results(
        found, output, masks=masks, files=scan.images, title=f"{found.volume.name}, {title}"
    )


def _show(told: dict[str, Any] | Failure) -> None:
    if not isinstance(told, dict):
        console.say(f"failed: {told.file}: {told.reason}")
        return
    if "volumes_ml" not in told:
        console.show(told["segmentation"])
        return
    console.show(f"{told['segmentation']}  ({told['seconds']:.0f} s; {told['overlay']})")
    found = {name: ml for name, ml in told["volumes_ml"].items() if ml}
    width = max(map(len, found), default=0)
    for name, ml in found.items():
        values = told["labels"][name]
        own = values if isinstance(values, int) else values[0]
        console.show(f"  {own:>3}  {name:<{width}}  {ml:9.1f} ml")
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
