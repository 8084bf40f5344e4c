"""What ``mots predict`` writes of each scan, and where: formats, files, what is there already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mots_pretrained.cli import console
from mots_pretrained.cli.network_choice import protocol
from mots_pretrained.errors import UserError

if TYPE_CHECKING:
    from mots_pretrained.data.layouts.collection import CaseFiles
    from mots_pretrained.inference.cohort import Write
    from mots_pretrained.inference.predictor import Predictor


@dataclass(frozen=True)
class ScanOutputs:
    """What is to be written of each scan; it may be sent to other machines.

    Attributes:
        folder: Folder of the results.
        submission: Online evaluation whose file alone is written, or nothing.
        masks: Whether each category gets a file.
        picture: Whether a picture is drawn.
        probabilities: Whether probabilities are written.
        formats: Names of `images.segmentation.FORMATS`.
    """

    folder: str
    submission: str = ""
    masks: bool = False
    picture: bool = True
    probabilities: bool = False
    formats: tuple[str, ...] = ("nifti",)

    def writer(self, predictor: Predictor, model: str) -> Write:
        """Return the function that writes a prediction's files, once it is sure that it can."""
        if self.submission:
            from mots_pretrained.inference.submission import check_submission, save_submission

            check_submission(self.submission, list(predictor.label_values))
            return lambda found, _: {
                "scan": found.volume.name,
                "segmentation": str(save_submission(found, self.folder, self.submission)),
                "precision": predictor.precision,
            }
        from mots_pretrained.images.segmentation import check_label_values
        from mots_pretrained.inference.cohort import write_results

        check_label_values(self.folder, predictor.label_values)
        how = protocol(predictor)
        return lambda found, scan: write_results(
            found,
            self.folder,
            masks=self.masks,
            picture=self.picture,
            probabilities=self.probabilities,
            formats=self.formats,
            files=scan.images,
            told={
                "state": scan.state,
                **how,
                **({} if scan.series is None else {"series": scan.series.key}),
            },
            config=predictor.config,
            model=model,
        )

    def lacking(
        self,
        scans: Sequence[CaseFiles],
        categories: Sequence[str],
        *,
        made_by: dict[str, Any],
        shared: bool,
    ) -> tuple[list[CaseFiles], list[str]]:
        """Return the scans that lack results, and the names of those that have all of them.

        Args:
            scans: The scans.
            categories: What is predicted.
            made_by: What must have been recorded of how results were made.
            shared: Whether other processes write into the folder at the same time.
        """
        from mots_pretrained.inference.resume import left_to_do, made_otherwise

        left = left_to_do(
            scans,
            self.folder,
            mask_names=categories if self.masks else (),
            picture=self.picture,
            probabilities=self.probabilities,
            formats=self.formats,
            shared=shared,
            made_by=made_by,
        )
        skipped = [scan.name for scan in scans if scan not in left]
        if skipped:
            console.say(f"{len(skipped)} of {len(scans)} scans have their results already")
        if other := made_otherwise(left, self.folder, made_by):
            console.say(
                f"{len(other)} of {len(scans)} scans have results of other weights or settings, or "
                "of a version that did not tell its weights; they are segmented again"
            )
        return left, skipped


def formats_named(
    formats: str, naming: str, submission: str, scans: Sequence[CaseFiles], output: str
) -> tuple[str, ...]:
    """Return the formats with NIfTI under the name asked for; no scan may be written over.

    Raises:
        UserError: If there is no such naming, or a result would lie over a scan or its truth.
    """
    kinds = tuple(kind.strip() for kind in formats.split(",") if kind.strip())
    if naming not in ("seg", "nnunet"):
        raise UserError(f"unknown naming {naming!r}; allowed are seg, nnunet")
    if submission and (naming != "seg" or kinds != ("nifti",)):
        raise UserError(
            "--submission names and stores its files by itself; leave out --format and --naming"
        )
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


def _check_beside(kinds: tuple[str, ...], scans: Sequence[CaseFiles], output: str) -> None:
    """Refuse to write over what lies beside the scans and is none of ours: the truth, often."""
    from mots_pretrained.images.segmentation import FORMATS
    from mots_pretrained.inference.outputs import sources_of, told_of

    for scan in scans:
        for kind in kinds:
            name = FORMATS[kind][0].format(scan.name) if kind in FORMATS else ""
            if (Path(output) / name).is_file() and not sources_of(
                output, told_of(output, scan.name)
            ):
                raise UserError(
                    f"{Path(output) / name} lies beside the scan and was not written by mots "
                    "predict; give another folder"
                )
