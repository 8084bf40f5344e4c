"""``mots predict``: segment a scan, or every scan of a folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mots_pretrained.cli import FAILED, console, options
from mots_pretrained.cli.scans_bar import scans_bar
from mots_pretrained.errors import UserError

if TYPE_CHECKING:
    from mots_pretrained.data.layouts.collection import CaseFiles
    from mots_pretrained.inference.cohort import Write
    from mots_pretrained.inference.failures import Failure
    from mots_pretrained.inference.predictor import Predictor

_WARNED = ("spacing", "orientation")  # kinds of doubts that go to standard error
_LISTED = {"missing": "not found", "cut": "cut by the scan's border"}  # told by their names alone


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
        str, typer.Option(help="DICOM series, where there are several: UID, number or description")
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
    batch: Annotated[
        int | None,
        typer.Option(help="Windows predicted at once; by default 2 small ones, or 1"),
    ] = None,
    device: options.Device = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16 or (on cuda) float16")
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
    files every CT series is one. For a model of several channels, files
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
    from mots_pretrained.inference.cohort_table import write_cohort

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
    network = _Network(
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
    here = network if engine == "local" else replace(network, compiled=False, max_ram=None)
    predictor = here.predictor(chosen if engine == "local" else "cpu")
    channels = len(predictor.config.preprocessing.channels)
    scans = find_scans(scan, channels, series=series or None)
    kinds = tuple(kind.strip() for kind in formats.split(",") if kind.strip())
    kinds = _named(kinds, naming, submission, scans, output)
    check_formats(kinds, dicom=refer_to_dicom(scans))
    outputs = _Outputs(output, submission, masks, picture, probabilities, kinds)
    write = _writer(predictor, outputs, model)  # which refuses what can't be written
    if not submission:
        check_sources(scans, output)
    folder = output if is_cohort(scan, scans) else None
    if engine == "ray" and folder is None:
        raise UserError("--engine ray shares out the scans of a folder; give one, or leave it out")
    scans, skipped = _chosen(
        scans, outputs, predictor, part, skip_existing, {"model": model, **_protocol(predictor)}
    )
    console.say(f"Segmenting with {model} on {chosen if engine == 'local' else 'a Ray cluster'}")
    begin_work()
    try:
        with scans_bar(len(scans)) as bar:

            def show(told: dict[str, Any] | Failure) -> None:
                bar.done()
                if not json:
                    _show(told)
                if isinstance(told, dict):
                    _warn(told)

            if engine == "ray":
                from mots_pretrained.inference.ray_cohort import segment_scans_by_ray

                reports, failures = segment_scans_by_ray(
                    partial(_build, network, outputs), scans, output=output, device=device,
                    on_scan=show,
                )  # fmt: skip
            else:
                reports, failures = segment_scans(
                    predictor,
                    scans,
                    write,
                    output=folder,
                    on_window=bar.windows,
                    on_scan=show,
                )
    finally:
        if folder is not None and not submission and Path(output).is_dir():
            write_cohort(output)
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


def _named(
    kinds: tuple[str, ...], naming: str, submission: str, scans: list[CaseFiles], output: str
) -> tuple[str, ...]:
    """Return the formats with NIfTI under the name asked for; no scan may be written over."""
    if naming not in ("seg", "nnunet"):
        raise UserError(f"unknown naming {naming!r}; allowed are seg, nnunet")
    if naming == "nnunet":
        kinds = tuple("nnunet" if kind == "nifti" else kind for kind in kinds)
    # a link counts where it lies, not where it leads
    beside = any(p.parent.resolve() == Path(output).resolve() for s in scans for p in s.images)
    if ("nnunet" in kinds or submission) and beside:
        raise UserError(
            f"{output} holds scans, and label maps named after their cases would lie over them; "
            "give another folder"
        )
    if beside:
        _check_beside(kinds, scans, output)
    return kinds


def _check_beside(kinds: tuple[str, ...], scans: list[CaseFiles], output: str) -> None:
    """Refuse to write over what lies beside the scans and is none of ours: the truth, often."""
    from mots_pretrained.images.segmentation import FORMATS
    from mots_pretrained.inference.outputs import sources_of

    for scan in scans:
        for kind in kinds:
            name = FORMATS[kind][0].format(scan.name) if kind in FORMATS else ""
            if (Path(output) / name).is_file() and not sources_of(output, scan.name):
                raise UserError(
                    f"{Path(output) / name} lies beside the scan and was not written by mots "
                    "predict; give another folder"
                )


@dataclass(frozen=True)
class _Network:
    """Which network predicts, and how; it may be sent to other machines."""

    model: str
    add: tuple[str, ...]
    tasks: tuple[str, ...] | None
    overlap: float
    flips: bool
    batch: int | None
    precision: str
    compiled: bool
    postprocess: bool
    probabilities: bool
    max_ram: float | None
    scratch: str
    deterministic: bool

    def predictor(self, device: str) -> Predictor:
        """Load it onto a device of this machine."""
        from mots_pretrained.inference.predictor import Predictor
        from mots_pretrained.networks import load
        from mots_pretrained.stages import stage
        from mots_pretrained.training.machine import compute_deterministically, prepare_machine

        prepare_machine(device)
        if self.deterministic:
            compute_deterministically(device)
        with stage("load", model=self.model):
            network = load(self.model, add=self.add)
        return Predictor(
            network,
            device=device,
            tasks=self.tasks,
            overlap=self.overlap,
            flips=self.flips,
            batch=self.batch,
            precision=self.precision,  # type: ignore[arg-type]  # it is checked there
            compiled=self.compiled,
            postprocess=self.postprocess,
            probabilities=self.probabilities,
            max_ram=self.max_ram,
            scratch=self.scratch,
        )


def _build(network: _Network, outputs: _Outputs, device: str) -> tuple[Predictor, Write]:
    """Return what an actor on another machine works with."""
    predictor = network.predictor(device)
    return predictor, _writer(predictor, outputs, network.model)


@dataclass(frozen=True)
class _Outputs:
    """What is to be written of each scan, and where."""

    folder: str
    submission: str
    masks: bool
    picture: bool
    probabilities: bool
    formats: tuple[str, ...]


def _chosen(
    scans: list[CaseFiles],
    outputs: _Outputs,
    predictor: Predictor,
    part: str,
    skip_existing: bool,
    made_by: dict[str, Any],
) -> tuple[list[CaseFiles], list[str]]:
    """Return the scans of this run, and the names of those whose results are there."""
    from mots_pretrained.inference.resume import left_to_do, part_of

    if part:
        scans = part_of(scans, part)
    if not skip_existing:
        return scans, []
    left = left_to_do(
        scans,
        outputs.folder,
        mask_names=list(predictor.label_values) if outputs.masks else (),
        picture=outputs.picture,
        probabilities=outputs.probabilities,
        formats=outputs.formats,
        shared=bool(part),
        made_by=made_by,
    )
    skipped = [scan.name for scan in scans if scan not in left]
    if skipped:
        console.say(f"{len(skipped)} of {len(scans)} scans have their results already")
    return left, skipped


def _writer(predictor: Predictor, outputs: _Outputs, model: str) -> Write:
    """Return the function that writes a prediction's files, once it is sure that it can."""
    folder, submission = outputs.folder, outputs.submission
    if submission:
        from mots_pretrained.inference.submission import check_submission, save_submission

        check_submission(submission, list(predictor.label_values))
        return lambda found, _: {
            "scan": found.volume.name,
            "segmentation": str(save_submission(found, folder, submission)),
        }
    from mots_pretrained.images.segmentation import check_label_values
    from mots_pretrained.inference.cohort import write_results
    from mots_pretrained.inference.dicom_scans import series_key

    check_label_values(folder, predictor.label_values)
    return lambda found, scan: write_results(
        found,
        folder,
        masks=outputs.masks,
        picture=outputs.picture,
        probabilities=outputs.probabilities,
        formats=outputs.formats,
        files=scan.images,
        told={
            "state": scan.state,
            **_protocol(predictor),
            **({} if scan.series is None else {"series": series_key(scan.series)}),
        },
        config=predictor.config,
        model=model,
    )


def _protocol(predictor: Predictor) -> dict[str, Any]:
    """Return what of the way of predicting changes results, as the file of volumes records it."""
    names = ("overlap", "flips", "postprocess")
    return {name: getattr(predictor, name) for name in names}


def _show(told: dict[str, Any] | Failure) -> None:
    if not isinstance(told, dict):
        console.say(f"failed: {told.file}: {told.reason}")
        return
    if "volumes_ml" not in told:
        console.show(told["segmentation"])
        return
    picture = f"; {told['overlay']}" if "overlay" in told else ""
    console.show(f"{told['segmentation']}  ({told['seconds']:.0f} s{picture})")
    found = {name: ml for name, ml in told["volumes_ml"].items() if ml}
    width = max(map(len, found), default=0)
    for name, ml in found.items():
        values = told["labels"][name]
        own = values if isinstance(values, int) else values[0]
        console.show(f"  {own:>3}  {name:<{width}}  {ml:9.1f} ml")
    if not found:
        console.show("  nothing found")
    for note in _notes(told):
        console.show(f"  note: {note}")


def _warn(told: dict[str, Any]) -> None:
    """Warn of what makes a result useless; of what is no CT reading it has warned."""
    for doubt in told.get("doubts", ()):
        if doubt["kind"] in _WARNED:
            console.warn(f"warning: {told['scan']}: {doubt['text']}")


def _notes(told: dict[str, Any]) -> list[str]:
    """Return what else speaks against a result, in a line a kind."""
    doubts = [doubt for doubt in told.get("doubts", ()) if doubt["kind"] not in _WARNED]
    listed = {kind: [d["category"] for d in doubts if d["kind"] == kind] for kind in _LISTED}
    lines = [f"{_LISTED[kind]}: {', '.join(names)}" for kind, names in listed.items() if names]
    return lines + [doubt["text"] for doubt in doubts if doubt["kind"] not in _LISTED]
