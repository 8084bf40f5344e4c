"""The main job on the shipped weights: segment a scan, then teach the backbone 13 organs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mots_pretrained.errors import UserError
from mots_pretrained.files import write_text
from mots_pretrained.tasks import BCV_ORGANS, MOTS_TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mots_pretrained.adaptation.segmenter import Segmenter
    from mots_pretrained.evaluation.results import Results
    from mots_pretrained.inference.prediction import Prediction
    from mots_pretrained.methods import Method
    from mots_pretrained.phantom.collections import WrittenCase
    from mots_pretrained.training.log import LogRow
    from mots_pretrained.training.validation import History

Say = Callable[[str], None]

NOTE = (
    "Measured here, once: Dice on synthetic CTs that neither network was trained on, after the "
    "same time of training each, one seed. The pretrained weights have seen synthetic CTs of the "
    "same generator, and the labels of liver, spleen, pancreas and kidneys, but not of the other "
    "organs. Phantoms are not patients: what pretraining is worth on real scans, this does not say."
)

STARTS = {"pretrained": "pretrained weights", "from_scratch": "random weights"}
"""The two networks that are fine-tuned side by side, by the name of their folders."""


@dataclass(frozen=True)
class DemoSettings:
    """What the demonstration runs.

    Attributes:
        model: Name, folder or Hub repository of a network with tasks.
        steps: Training steps of all pretrained weights, after their head has been fitted; the
            network from random weights gets as many as take the same time.
        minutes: Of training pretrained weights at most, so that a slow machine does fewer steps.
        fitting: Steps of fitting the head; of a recipe's 2500 the first few bring most.
        batch: Patches a step.
        training_scans: Phantoms to fine-tune on.
        test_scans: Phantoms to score on.
        seed: Of phantoms, new weights and patches.
        shape: Voxels (D, H, W) of the phantoms; 96 x 128 x 128 by default.
    """

    model: str = "transdodnet.phantom"
    steps: int = 20
    minutes: float = 2.0
    fitting: int = 400
    batch: int = 1
    training_scans: int = 4
    test_scans: int = 2
    seed: int = 0
    shape: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if min(self.steps, self.fitting, self.batch, self.training_scans, self.test_scans) < 1:
            raise UserError(
                "steps, fitting, batch, training scans and test scans must be at least 1 each"
            )


def demo(
    folder: str | os.PathLike[str],
    scan: str | os.PathLike[str] | None = None,
    *,
    settings: DemoSettings | None = None,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Segment a scan, then teach 13 organs to pretrained and to random weights, equally long.

    On the pretrained features the head is fitted first, then all weights learn.

    Args:
        folder: Where label maps, pictures, curves, both networks and ``results.json`` go; made if
            need be, and what an earlier demonstration left there is replaced.
        scan: A CT to segment; a phantom by default.
        settings: What runs.
        say: Told each step in words.

    Returns:
        What ``results.json`` holds: ``settings``, ``scan``, ``finetuning``, ``note``, ``files``
        (what each is) and ``seconds``.

    Raises:
        KeyError: If the model is unknown.
        FileNotFoundError: If there is no such scan.
        ValueError: If the scan cannot be segmented, or the model has no tasks.

    Example:
        >>> results = demo("demo", say=print)  # doctest: +SKIP
    """
    from mots_pretrained.methods import Method
    from mots_pretrained.networks import load

    run = _Run(Path(folder), settings or DemoSettings(), say)
    begun = time.monotonic()
    run.begin(f"Loading {run.settings.model}")
    net = load(run.settings.model)
    if not isinstance(net, Method):
        raise UserError(
            f"{run.settings.model} holds a {net.config.architecture}; the demonstration wants a "
            "network with tasks, such as transdodnet.phantom"
        )
    say(f"   {sum(p.numel() for p in net.parameters()) / 1e6:.1f} million weights")
    # A scan of the user's comes first: what cannot be read shall leave nothing behind.
    found = None if scan is None else run.segment(net, Path(scan))
    first, training, test = run.draw_phantoms(with_first=scan is None)
    if first is not None:
        found = run.segment(net, run.phantoms / first.images[0], run.phantoms / first.complete)
    finetuning = run.compare(net, training, test)
    text = json.dumps(
        {
            "settings": asdict(run.settings),
            "scan": found,
            "finetuning": finetuning,
            "note": NOTE,
            "files": {**run.files, "results.json": "all numbers of this demonstration"},
            "seconds": round(time.monotonic() - begun, 1),
        },
        indent=2,
        allow_nan=False,
    )
    write_text(run.folder / "results.json", text + "\n")
    results: dict[str, Any] = json.loads(text)
    return results


@dataclass
class _Run:
    """One demonstration: where it writes, whom it tells, and what it has written."""

    folder: Path
    settings: DemoSettings
    say: Say
    files: dict[str, str] = field(default_factory=dict)
    steps: int = 0

    @property
    def phantoms(self) -> Path:
        return self.folder / "phantoms"

    def begin(self, text: str) -> None:
        """Tell a step of the demonstration, numbered."""
        self.steps += 1
        self.say(f"{self.steps}. {text}")

    def segment(self, net: Method, scan: Path, complete: Path | None = None) -> dict[str, Any]:
        """Segment a scan for all tasks at once; score it where it is a phantom."""
        from mots_pretrained.inference.predictor import Predictor

        names = ", ".join(task.name for task in net.config.tasks)
        self.begin(f"Segmenting {scan} for {len(net.config.tasks)} tasks in one pass: {names}")
        begun = time.monotonic()
        prediction = Predictor(net)(scan)
        seconds = round(time.monotonic() - begun, 1)
        self._keep(
            prediction, prediction.volume.name, f"what {self.settings.model} finds in {scan}"
        )
        volumes = {name: round(ml, 1) for name, ml in prediction.volumes.items() if ml}
        largest = sorted(volumes, key=lambda name: -volumes[name])[:4]
        listed = ", ".join(f"{name} {volumes[name]:.0f} ml" for name in largest) or "nothing"
        self.say(f"   {seconds:.0f} s; found {listed}")
        scores = None if complete is None else _score(prediction, complete, net)
        return {"file": str(scan), "seconds": seconds, "millilitres": volumes, "dice": scores}

    def draw_phantoms(
        self, *, with_first: bool
    ) -> tuple[WrittenCase | None, list[WrittenCase], list[WrittenCase]]:
        """Write phantoms in BCV's layout: one to segment, some to train on, some to test on.

        The first is drawn with a scan of the user's, too: every run in a folder draws the same.
        """
        from mots_pretrained.phantom.collections import write_collection

        wanted = self.settings
        count = 1 + wanted.training_scans + wanted.test_scans
        self.begin(f"Drawing {count} phantom CTs with 13 organs labelled, in BCV's layout")
        cases = write_collection(
            "bcv", self.phantoms, cases=count, seed=wanted.seed, shape=wanted.shape
        )
        self.files["phantoms/"] = "the synthetic CTs (img/), 13 organs (label/), complete labels"
        split = 1 + wanted.training_scans
        return cases[0] if with_first else None, cases[1:split], cases[split:]

    def compare(
        self, net: Method, training: list[WrittenCase], test: list[WrittenCase]
    ) -> dict[str, Any]:
        """Train from the pretrained backbone and from random weights for as long; score both."""
        from mots_pretrained.report.curves import draw_curves

        self.begin(f"Learning 13 organs from {len(training)} labelled phantoms")
        results: dict[str, Any] = {"training_scans": len(training), "test_scans": len(test)}
        curves, pictures, steps = {}, {}, self.settings.steps
        limit = self.settings.minutes
        for start, meaning in STARTS.items():
            self.say(f"   from {meaning}:")
            segmenter = self._segmenter(net, start)
            begun = time.monotonic()
            history = self._finetune(segmenter, training, steps, limit)
            seconds, last = time.monotonic() - begun, history.rows[-1]
            per_step = max(last.seconds, 1e-3) / last.step
            # The other has its time: the steps that fit, and no longer if they turn out slower.
            steps, limit = max(last.step, round(seconds / per_step)), seconds / 60
            table, pictures[meaning] = self._evaluate(segmenter, test, start)
            segmenter.save_pretrained(self.folder / start)
            self.files[f"{start}/"] = (
                f"the network that began with {meaning}; it loads by this path"
            )
            results[start] = {
                "minutes": round(seconds / 60, 1),
                "steps": last.step,
                "head_fitted": history.fitted,
                **table.as_json(),
            }
            curves[start] = [row.texts() for row in history.rows]
        self._draw(test[0], pictures)
        draw_curves(
            curves, self.folder / "curves.png", title="Training loss (Dice + cross-entropy)"
        )
        self.files["curves.png"] = "training loss of both"
        return results

    def _segmenter(self, net: Method, start: str) -> Segmenter:
        import torch

        from mots_pretrained.adaptation.segmenter import Segmenter

        torch.manual_seed(self.settings.seed)
        if start == "from_scratch":
            return Segmenter.from_scratch(net.config, classes=BCV_ORGANS, head="levels")
        return Segmenter.from_pretrained(self.settings.model, classes=BCV_ORGANS, head="levels")

    def _finetune(
        self,
        segmenter: Segmenter,
        training: list[WrittenCase],
        steps: int,
        minutes: float,
    ) -> History:
        from mots_pretrained.data.case import read_case
        from mots_pretrained.data.layouts import CaseFiles
        from mots_pretrained.data.layouts.collection import numbered
        from mots_pretrained.data.partial_labels import Targets
        from mots_pretrained.training.finetune import finetune
        from mots_pretrained.training.recipe import Recipe, Run

        targets = Targets.of_classes(numbered(BCV_ORGANS))
        contract = segmenter.config.preprocessing
        scans = [
            CaseFiles(case.identifier, (self.phantoms / case.images[0],), self._truth(case))
            for case in training
        ]
        cases = [read_case(scan, contract, targets) for scan in scans]

        def tell(row: LogRow) -> None:
            if row.step % 20 == 0 or row.step == row.steps:
                loss, minutes = row.losses["total"], row.seconds / 60
                self.say(
                    f"   step {row.step:>3} of {row.steps}, loss {loss:.3f}, {minutes:.1f} min"
                )

        own = self.settings
        recipe = Recipe(steps=steps, batch=own.batch, seed=own.seed, fit_steps=own.fitting)
        history = finetune(segmenter, cases, recipe, run=Run(on_log=tell, max_minutes=minutes))
        if history.fitted is not None:
            self.say(f"   fitting the head took {history.fitted['seconds']:.0f} s of it")
        if (done := history.rows[-1].step) < steps:
            self.say(f"   ended after {done} of {steps} steps: {minutes:.1f} minutes were over")
        return history

    def _draw(self, case: WrittenCase, found: dict[str, NDArray[Any]]) -> None:
        """Draw the truth of an unseen phantom and what both networks find, side by side."""
        from mots_pretrained.images.reading import read_volume
        from mots_pretrained.report.side_by_side import ComparedCase, draw_side_by_side

        scan = read_volume(self.phantoms / case.images[0])
        labels = {"truth": read_volume(self._truth(case)).array, **found}
        compared = ComparedCase(case.identifier, scan.array, labels, scan.spacing)
        values = {name: value for value, name in enumerate(BCV_ORGANS, start=1)}
        draw_side_by_side([compared], self.folder / "side_by_side.png", values=values)
        self.files["side_by_side.png"] = "an unseen phantom: truth, and what both networks find"

    def _evaluate(
        self, segmenter: Segmenter, test: list[WrittenCase], start: str
    ) -> tuple[Results, NDArray[Any]]:
        """Score on scans that were not trained on, each on its own grid; return the first map."""
        from mots_pretrained.evaluation.metrics import measure
        from mots_pretrained.evaluation.results import Results
        from mots_pretrained.images.reading import read_volume
        from mots_pretrained.inference.predictor import Predictor

        results, predictor = Results(BCV_ORGANS), Predictor(segmenter, overlap=0.25)
        for number, case in enumerate(test):
            prediction = predictor(self.phantoms / case.images[0])
            if number == 0:
                self._keep(
                    prediction,
                    f"organs_{start}",
                    f"13 organs in {case.images[0]}, begun with {STARTS[start]}",
                )
                first = prediction.labels
            truth = read_volume(self._truth(case)).array
            scores = {
                name: measure(
                    prediction.mask(name),
                    truth == value,
                    spacing=prediction.spacing,
                    metrics=("dice",),
                )
                for value, name in enumerate(BCV_ORGANS, start=1)
            }
            results.add(case.identifier, scores)
        mean = results.mean_dice
        self.say(f"   mean Dice on {len(test)} unseen phantoms: {mean or 0:.3f}")
        return results, first

    def _truth(self, case: WrittenCase) -> Path:
        return self.phantoms / str(case.label)

    def _keep(self, prediction: Prediction, name: str, meaning: str) -> None:
        """Write a label map and its picture."""
        from mots_pretrained.report.overlay import draw_overlay

        self.folder.mkdir(parents=True, exist_ok=True)
        label_map, picture = f"{name}_seg.nii.gz", f"{name}_overlay.png"
        prediction.save(self.folder / label_map)
        draw_overlay(
            prediction.volume,
            prediction.labels,
            self.folder / picture,
            values=prediction.values,
            volumes=prediction.volumes,
        )
        self.files[label_map] = f"label map: {meaning}"
        self.files[picture] = "its picture"


def _score(prediction: Prediction, complete: Path, net: Method) -> dict[str, float | None]:
    """Score a phantom for every task of MOTS, its complete labels being known."""
    from mots_pretrained.evaluation.metrics import dice
    from mots_pretrained.images.reading import read_volume
    from mots_pretrained.phantom.labels import task_target

    labels = read_volume(complete).array
    scores = {}
    for task in net.config.tasks:
        if task not in MOTS_TASKS:
            continue
        for name, mask in zip((task.organ, task.tumour), task_target(labels, task), strict=True):
            if name is not None:
                scores[name] = dice(prediction.mask(name), mask)
    return scores
