"""``mots check``: look at the collections before a week of GPU time is spent on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mots_pretrained.cli import collections, options

if TYPE_CHECKING:
    from mots_pretrained.check.collections import CheckReport
    from mots_pretrained.data.layouts import Collection


@collections.with_folders
def check(
    *,
    root: collections.Root = "",
    output: Annotated[str, typer.Option("-o", "--output", help="Page to write, .html")] = "",
    folders: Mapping[str, str],
    collection: collections.Described = None,
    split: Annotated[
        str, typer.Option(help="published, seeded, all-test; auto: published where it applies")
    ] = "auto",
    seed: collections.Seed = 0,
    workers: collections.Workers = 0,
    json: options.Json = False,
) -> int:
    """Check labels, grids, spacing, HU, duplicates and orientation of the original collections."""
    from mots_pretrained.check.collections import check_collections
    from mots_pretrained.cli import DONE, FAILED, console
    from mots_pretrained.report.check_page import write_check_page
    from mots_pretrained.report.html import checked_page
    from mots_pretrained.report.thumbnail import draw_thumbnail

    count = collections.worker_count(workers)
    if output:
        checked_page(output)  # before hours of work
    found = collections.find(root, folders, collection)
    report = check_collections(
        found,
        _split(found, split, seed),
        workers=count,
        picture=draw_thumbnail if output else None,
        progress=lambda name, done, total: console.say(f"{done:>4} of {total}  {name}"),
    )
    if output:
        write_check_page(report, output, title=f"mots check: {root or 'named collections'}")
    if json:
        console.show_json(_as_json(report))
    else:
        _tell(report, output)
    return FAILED if report.problems else DONE


def _split(collections: tuple[Collection, ...], kind: str, seed: int) -> Mapping[str, str]:
    """Say which cases train, validate and test.

    Split is as asked; by default as published, or by seed where a case is none of MOTS's.
    """
    from mots_pretrained.data.split import split_cases, validation_cases

    try:
        split = split_cases(collections, "published" if kind == "auto" else kind, seed)
    except ValueError:
        if kind != "auto":
            raise
        split = split_cases(collections, "seeded", seed)
    validation = validation_cases(collections, split, seed=seed)
    return {**split, **dict.fromkeys(validation, "validation")}


def _tell(report: CheckReport, output: str) -> None:
    from mots_pretrained.cli import console

    for collection in report.collections:
        told = ", ".join(f"{axis} {text}" for axis, text in report.orientation(collection).items())
        console.show(f"{collection.name}: {len(report.of(collection))} labelled cases; {told}")
    for finding in report.findings:
        level = "problem" if finding.problem else "look"
        where = finding.case or finding.collection or "all"
        console.show(f"{level}  {finding.kind}  {where}: {finding.text}")
    looks = len(report.findings) - len(report.problems)
    console.show(
        f"{len(report.cases)} cases, {len(report.problems)} problems, {looks} worth a look"
        + (f"; page: {output}" if output else "")
    )


def _as_json(report: CheckReport) -> dict[str, Any]:
    import dataclasses

    return {
        "cases": len(report.cases),
        "problems": len(report.problems),
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
        "collections": [
            {
                "name": collection.name,
                "source": collection.supervises.source,
                "cases": len(report.of(collection)),
                "unlabelled": len(collection.cases) - len(collection.labelled),
                "orientation": report.orientation(collection),
            }
            for collection in report.collections
        ],
        "checked": [
            {
                "identifier": check.identifier,
                "collection": check.collection,
                "shape": check.shape,
                "spacing": check.spacing,
                "voxels": dict(check.voxels),
                "content_hash": check.content,
                "orientation": dict(check.verdicts),
                "readings": [reading.text for reading in check.readings],
            }
            for check in report.cases
        ],
    }
