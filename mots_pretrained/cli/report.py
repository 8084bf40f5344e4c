"""``mots report``: results or a training as one page that needs no other file and no network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mots_pretrained.cli import console, options
from mots_pretrained.errors import MissingFileError, UserError

_SIZE, _MEGABYTES = 160, 60.0


def report(
    folder: Annotated[
        str,
        typer.Option("-i", "--input", help="Folder of mots predict, of a training, or of a curve"),
    ],
    output: Annotated[
        str, typer.Option("-o", "--output", help="Page to write; report.html in it by default")
    ] = "",
    scan: Annotated[str, typer.Option(help="Only the scan of this name")] = "",
    scans: Annotated[
        str, typer.Option(help="Folder of the scans, where they have been moved since")
    ] = "",
    size: Annotated[int, typer.Option(help="Voxels along any axis of the pictures, 16 to 512")] = (
        _SIZE
    ),
    megabytes: Annotated[
        float, typer.Option(help="Pictures' size together; scans beyond it are listed without")
    ] = _MEGABYTES,
    json: options.Json = False,
) -> None:
    """Show results or a training as one page.

    Of a folder of mots predict: slices in three planes and 3D with the labels,
    volumes beside those of training, what speaks against each result, and for
    several scans a table that can be sorted, outliers marked. Of a folder of
    mots pretrain or finetune: curves, scores and settings, of each fold; of
    mots finetune --curve: its picture and table.
    """
    place = Path(folder)
    if not place.is_dir():
        raise MissingFileError(f"no such folder: {folder}; give one of mots predict or a training")
    if scans and not Path(scans).is_dir():
        raise MissingFileError(f"no such folder: {scans}; give the folder of the scans")
    if not 16 <= size <= 512:
        raise UserError(f"--size must be 16 to 512, not {size}")
    page = output or str(place / "report.html")
    name = place.resolve().name
    from mots_pretrained.report.training_page import (
        is_training,
        write_curve_page,
        write_training_page,
    )
    from mots_pretrained.training.folder import CURVE

    told: dict[str, object] = {"page": page}
    of_training = is_training(place) or (place / CURVE).is_file()
    pictures = (size, megabytes) != (_SIZE, _MEGABYTES)
    if of_training and (scan or scans or pictures):
        raise UserError(
            f"{folder} is a training; leave out --scan, --scans, --size and --megabytes"
        )
    if is_training(place):
        write_training_page(place, page, title=f"{name}: training")
    elif (place / CURVE).is_file():
        from mots_pretrained.training.curve import read_points, rows_of

        rows = rows_of(read_points(place))
        write_curve_page(place, page, title=f"{name}: learning curve", rows=rows)
    else:
        from mots_pretrained.report.prediction_page import write_prediction_page
        from mots_pretrained.report.results import read_results

        results = read_results(place, scan or None)
        what = results[0].name if len(results) == 1 else "segmented scans"
        shown = write_prediction_page(
            results,
            page,
            title=f"{name}: {what}",
            scans=scans or None,
            most=size,
            megabytes=megabytes,
        )
        told |= {"scans": len(results), "with_pictures": shown}
        if shown < len(results):
            console.say(f"{shown} of {len(results)} scans have their pictures in the page")
    if json:
        console.show_json(told)
    else:
        console.show(page)
