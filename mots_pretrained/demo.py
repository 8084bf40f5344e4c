"""The main job on the embedded default: segment a scan, then teach the backbone 13 organs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mots_pretrained.errors import UserError
from mots_pretrained.tasks import BCV_ORGANS, MOTS_TASKS

if TYPE_CHECKING:
    from mots_pretrained.adaptation.segmenter import Segmenter
    from mots_pretrained.evaluation.results import Results
    from mots_pretrained.inference.prediction import Prediction
    from mots_pretrained.methods import Method
    from mots_pretrained.phantom.collections import Case
    from mots_pretrained.training.finetune import History
    from mots_pretrained.training.log import LogRow

Say = Callable[[str], None]

NOTE = (
    "Phantoms are not patients, and so short a training on so few of them proves nothing: which "
    "of the two networks scores higher here says nothing about pretraining."
)

STARTS = {"pretrained": "pretrained weights", "from_scratch": "random weights"}
"""The two networks that are fine-tuned side by side, by the name of their folders."""


@dataclass(frozen=True)
class DemoSettings:
    """What the demonstration runs.

    Attributes:
        model: Name, folder or Hub repository of a network with tasks.
        steps: Training steps of each of the two networks.
        batch: Patches a step.
        training_scans: Phantoms to fine-tune on.
        test_scans: Phantoms to score on.
        seed: Of phantoms, new weights and patches.
        shape: Voxels (D, H, W) of the phantoms; 96 x 128 x 128 by default.
    """

    model: str = "transdodnet.phantom"
    steps: int = 60
    batch: int = 1
    training_scans: int = 4
    test_scans: int = 2
    seed: int = 0
    shape: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.training_scans, self.test_scans) < 1:
            raise UserError("steps, batch, training scans and test scans must be at least 1 each")


def demo(
    folder: str | os.PathLike[str],
    scan: str | os.PathLike[str] | None = None,
    *,
    settings: DemoSettings | None = None,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Segment a scan, then fine-tune 13 organs from pretrained and from random weights.

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
    (run.folder / "results.json").write_text(text + "\n", encoding="utf-8")
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

    def draw_phantoms(self, *, with_first: bool) -> tuple[Case | None, list[Case], list[Case]]:
        """Write phantoms in BCV's layout: one to segment, some to train on, some to test on."""
        from mots_pretrained.phantom.collections import write_collection

        wanted, first = self.settings, int(with_first)
        count = first + wanted.training_scans + wanted.test_scans
        self.begin(f"Drawing {count} phantom CTs with 13 organs labelled, in BCV's layout")
        cases = write_collection(
            "bcv", self.phantoms, cases=count, seed=wanted.seed, shape=wanted.shape
        )
        self.files["phantoms/"] = "the synthetic CTs (img/), 13 organs (label/), complete labels"
        split = first + wanted.training_scans
        return cases[0] if with_first else None, cases[first:split], cases[split:]

    def compare(self, net: Method, training: list[Case], test: list[Case]) -> dict[str, Any]:
        """Fine-tune with the pretrained backbone and without, on equal terms, and score both."""
        from mots_pretrained.report.curves import draw_curves

        steps = self.settings.steps
        self.begin(f"Fine-tuning for 13 organs on {len(training)} phantoms, twice {steps} steps")
        results: dict[str, Any] = {"training_scans": len(training), "test_scans": len(test)}
        curves = {}
        for start, meaning in STARTS.items():
            self.say(f"   from {meaning}, with a new head:")
            segmenter = self._segmenter(net, start)
            begun = time.monotonic()
            history = self._finetune(segmenter, training)
            seconds = round(time.monotonic() - begun, 1)
            table = self._evaluate(segmenter, test, start)
            segmenter.save_pretrained(self.folder / start)
            self.files[f"{start}/"] = (
                f"the network that began with {meaning}; it loads by this path"
            )
            results[start] = {"seconds": seconds, **table.as_json()}
            curves[start] = [row.texts() for row in history.rows]
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
            return Segmenter.from_scratch(net.config, classes=BCV_ORGANS)
        return Segmenter.from_pretrained(self.settings.model, classes=BCV_ORGANS)

    def _finetune(self, segmenter: Segmenter, training: list[Case]) -> History:
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
        recipe = Recipe(steps=own.steps, batch=own.batch, seed=own.seed)
        return finetune(segmenter, cases, recipe, run=Run(on_log=tell))

    def _evaluate(self, segmenter: Segmenter, test: list[Case], start: str) -> Results:
        """Score on scans that were not trained on, each on its own grid."""
        from mots_pretrained.evaluation.metrics import measure
        from mots_pretrained.evaluation.results import Results
        from mots_pretrained.images.volume import read_volume
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
        return results

    def _truth(self, case: Case) -> Path:
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
    from mots_pretrained.images.volume import read_volume
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
