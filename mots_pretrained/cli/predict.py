"""``mots predict``: segment a scan, or every scan of a folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mots_pretrained.cli import FAILED, console, options
from mots_pretrained.cli.network_choice import NetworkChoice
from mots_pretrained.cli.scan_outputs import ScanOutputs, formats_named
from mots_pretrained.cli.scan_report import show_scan, warn_of_scan
from mots_pretrained.cli.scans_bar import scans_bar
from mots_pretrained.errors import UserError

if TYPE_CHECKING:
    from mots_pretrained.inference.cohort import Write
    from mots_pretrained.inference.failures import Failure
    from mots_pretrained.inference.predictor import Predictor


def predict(
    scan: Annotated[
        list[str],
        typer.Option(
            "-i",
            "--input",
            help="NIfTI, NRRD or MHA scan, or a DICOM series as folder or zip; one -i a channel "
            "if the model has several; or a folder of scans",
        ),
    ],
    output: Annotated[str, typer.Option("-o", "--output", help="Folder for the results")],
    model: Annotated[
        str, typer.Option("-m", "--model", help="Name, folder or Hub repository")
    ] = "transdodnet.phantom",
    add: Annotated[
        list[str] | None,
        typer.Option(help="File of organs added to the model (mots finetune --add-to); repeatable"),
    ] = None,
    tasks: Annotated[
        str, typer.Option(help="Tasks to predict, comma-separated: liver,spleen; all by default")
    ] = "",
    series: Annotated[
        str, typer.Option(help="DICOM series of each study: UID, number or (part of) description")
    ] = "",
    formats: Annotated[
        str,
        typer.Option("--format", help="nifti, nrrd, dicom-seg, rtstruct; several comma-separated"),
    ] = "nifti",
    naming: Annotated[
        str,
        typer.Option(help="NIfTI label maps are named: seg, CASE_seg.nii.gz; nnunet, CASE.nii.gz"),
    ] = "seg",
    masks: Annotated[
        bool, typer.Option("--masks", help="Write a binary file for each category as well")
    ] = False,
    picture: Annotated[
        bool, typer.Option("--picture/--no-picture", help="Draw three slices of each scan")
    ] = True,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write half-precision probabilities as .npz")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out scans whose results are there")
    ] = False,
    part: Annotated[
        str, typer.Option(help="A part of the scans, to share them: 2/8 is the second of eight")
    ] = "",
    submission: Annotated[
        str, typer.Option(help="Write only an evaluation's own file: bcv, brats or brats-2023")
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
    batch: Annotated[
        int | None,
        typer.Option(help="Windows predicted at once; by default 2 small ones, or 1"),
    ] = None,
    device: options.Device = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="float32; bfloat16 or (on cuda) float16, faster with slightly different masks; "
            "auto: the one of these that the device has instructions for, else float32"
        ),
    ] = "float32",
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile", help="Compile the network first, which takes minutes; for many scans"
        ),
    ] = False,
    max_ram: Annotated[
        float | None,
        typer.Option(
            help="GB of memory at most, with the same result; what does not fit lies in files of "
            "no name under --output"
        ),
    ] = None,
    deterministic: options.Deterministic = False,
    engine: Annotated[
        str, typer.Option(help="local: this machine; ray: all machines of a Ray cluster")
    ] = "local",
    json: options.Json = False,
) -> None:
    """Segment a scan: a label map on its own grid, volumes in ml and a picture.

    In a folder every NIfTI, NRRD and MHA file is a scan; in a tree of DICOM
    files and zips every CT volume is one. For a model of several channels, files
    X_0000, X_0001, ... are one scan, and so are the files of a BraTS case in
    its own folder. Scans that fail are listed in failures.csv, and the others
    go on; cohort.csv has a row for every scan and category.
    """
    from mots_pretrained.images.segmentation import check_formats
    from mots_pretrained.inference.cohort import (
        check_places,
        check_sources,
        find_scans,
        is_cohort,
        refer_to_dicom,
        segment_scans,
    )
    from mots_pretrained.inference.cohort_table import COHORT, write_cohort
    from mots_pretrained.inference.dicom_scans import rows_of
    from mots_pretrained.inference.failures import write_failures
    from mots_pretrained.inference.resume import part_of

    check_places(scan, output)
    if submission and (masks or probabilities or skip_existing):
        raise UserError(
            "--submission writes one file a scan and no more; leave out --masks, --probabilities "
            "and --skip-existing"
        )
    if engine not in ("local", "ray"):
        raise UserError(f"unknown engine {engine!r}; allowed are local, ray")
    from mots_pretrained.stages import begin_work
    from mots_pretrained.training.machine import best_device

    chosen = best_device(device) if engine == "local" else device
    network = NetworkChoice(
        model=model,
        add=tuple(add or ()),
        tasks=tuple(task.strip() for task in tasks.split(",")) if tasks else None,
        overlap=overlap,
        flips=flips,
        batch=batch,
        precision=precision,
        compiled=compiled,
        postprocess=postprocess,
        probabilities=probabilities,
        max_ram=max_ram,
        scratch=output,
        deterministic=deterministic,
    )
    here = network if engine == "local" else network.plain()
    predictor = here.predictor(chosen if engine == "local" else "cpu")
    made_by = network.made_by(predictor)
    channels = predictor.config.preprocessing.channels
    scans = find_scans(scan, channels, series=series or None)
    kinds = formats_named(formats, naming, submission, scans, output)
    check_formats(kinds, dicom=refer_to_dicom(scans))
    outputs = ScanOutputs(output, submission, masks, picture, probabilities, kinds)
    write = outputs.writer(predictor, model)  # which refuses what can't be written
    if not submission:
        check_sources(scans, output)
    folder = output if is_cohort(scan, scans) else None
    if engine == "ray" and folder is None:
        raise UserError("--engine ray shares out the scans of a folder; give one, or leave it out")
    if part:
        scans = part_of(scans, part)
    skipped: list[str] = []
    if skip_existing:
        every = scans
        scans, skipped = outputs.lacking(
            scans,
            list(predictor.label_values),
            made_by=made_by,
            shared=bool(part),
        )
        left = {one.name for one in scans}
        done = [one for one in every if one.name not in left]  # an earlier failure is outdated
        write_failures(output, [], [row for one in done for row in rows_of(one)])
    shorter = "" if made_by["precision"] == "float32" else f" in {made_by['precision']}"
    place = chosen if engine == "local" else "a Ray cluster"
    console.say(f"Segmenting with {model} on {place}{shorter}")
    begin_work()
    try:
        with scans_bar(len(scans)) as bar:

            def show(told: dict[str, Any] | Failure) -> None:
                bar.done()
                if not json:
                    show_scan(told)
                if isinstance(told, dict):
                    warn_of_scan(told)

            if engine == "ray":
                from mots_pretrained.inference.ray_cohort import segment_scans_by_ray

                reports, failures = segment_scans_by_ray(
                    partial(_build, network, outputs), scans, output=output, device=device,
                    formats=kinds, on_scan=show,
                )  # fmt: skip
            else:
                reports, failures = segment_scans(
                    predictor,
                    scans,
                    write,
                    formats=kinds,
                    output=folder,
                    on_window=bar.windows,
                    on_scan=show,
                )
    finally:
        kept = folder is not None or (Path(output) / COHORT).is_file()
        if kept and not submission and Path(output).is_dir():
            write_cohort(output)
    if folder is None:
        write_failures(output, [], [row for scan in scans for row in rows_of(scan)])
    if json:
        refused = [failure._asdict() for failure in failures]
        console.show_json(
            {"model": model, "scans": reports, "skipped": skipped, "failures": refused}
        )
    if failures:
        console.warn(
            f"{len(failures)} of {len(scans)} scans failed, the first with: {failures[0].reason} "
            f"(all are listed in {Path(output) / 'failures.csv'})"
        )
        raise typer.Exit(FAILED)


def _build(network: NetworkChoice, outputs: ScanOutputs, device: str) -> tuple[Predictor, Write]:
    """Return what an actor on another machine works with."""
    predictor = network.predictor(device)
    return predictor, outputs.writer(predictor, network.model)
