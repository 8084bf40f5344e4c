"""Pretraining on MOTS: many partially labelled tasks, one network (Secs. 3.6 and 4.1)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from mots_pretrained.config import ModelConfig
from mots_pretrained.data.augment import Augmentation
from mots_pretrained.data.seen_volumes import with_seen_volumes
from mots_pretrained.data.sides import Order, mirrored_tasks
from mots_pretrained.data.stream import PatchStream, Sampling
from mots_pretrained.errors import UserError
from mots_pretrained.methods import METHODS, Method
from mots_pretrained.model.pretrained import load_config_and_state
from mots_pretrained.model.stages import stage_of
from mots_pretrained.tasks import Task
from mots_pretrained.training.folder import (
    begin,
    check_no_curve,
    check_readme,
    complete,
    owned,
    written_card,
)
from mots_pretrained.training.launch import accelerated, on_main
from mots_pretrained.training.phantoms import phantoms
from mots_pretrained.training.recipe import Recipe, Run, read_recipe
from mots_pretrained.training.sources import (
    AUGMENTATIONS,
    Supply,
    prepared_cases,
    remove_cases,
)
from mots_pretrained.training.trainer import Trainer, default_rate
from mots_pretrained.weights.checkpoint import load_config
from mots_pretrained.weights.download import resolve
from mots_pretrained.weights.provenance import recorded_start, write_training_scans

if TYPE_CHECKING:
    from accelerate import Accelerator

FIELDS = frozenset((
    "method", "size", "network", "start", "tasks", "labels", "randomise", "tumours", "phantoms",
    "replay", "balance", "ablation", "patch", "patches_per_case", "foreground", "augmentation",
    "form", "empty_size", "bce_weight", "tumour_weight", "steps", "epochs", "batch", "accumulate",
    "rate", "transformer_rate", "weight_decay", "clip", "warm_up", "ema", "precision", "seed",
    "half",
))  # fmt: skip
"""Fields of a recipe that pretraining uses."""


def pretrain(
    output: str | Path,
    recipe: Recipe | None = None,
    *,
    data: str | Path | None = None,
    run: Run | None = None,
) -> Method:
    """Pretrain on partially labelled data, and leave a folder that ``from_pretrained`` takes.

    Beside the weights stand ``training.json`` (recipe, steps done, seconds), ``log.csv``, the
    hashes of the scans that were seen, and until it is complete the checkpoint from which an
    interrupted training resumes to the very same weights. Started on several processes by a
    launcher, it trains on all of them, and the main one writes.

    Args:
        output: Folder for the weights.
        recipe: How to train; the recipe ``small`` by default.
        data: Folder that ``mots prepare`` has written; None for phantoms made on the fly.
        run: Where and for how long.

    Returns:
        The network in evaluation mode, averaged weights where those are kept.

    Raises:
        UserError: If the folder holds a training and ``run.resume`` is not set, or one with other
            settings and it is; if the data does not fit the network.

    Example:
        >>> pretrain("out", Recipe(steps=100), data="prepared")  # doctest: +SKIP
    """
    output, recipe, run = Path(output), recipe or read_recipe("small"), run or Run()
    recipe.needs_only(FIELDS, "pretraining")
    supply = phantoms(recipe, output) if data is None else prepared_cases(data, recipe)
    network, carried = network_of(recipe, supply.tasks)
    stream = patches(recipe, supply, network.config, workers=run.workers)
    if carried is not None:
        run.tell(f"From {recipe.start}: {carried}")
    with training_in(output, recipe, run) as accelerator:
        identity = identity_of(
            recipe,
            accelerator.num_processes,
            cases=supply.marks,
            generator=supply.generator,
        )
        record = on_main(accelerator, lambda: begin(output, identity))
        if record is not None:
            on_main(accelerator, lambda: None if run.keep_cases else remove_cases(output))
            return METHODS[network.config.architecture].from_pretrained(output)
        steps, epoch = recipe.length(supply.patches, processes=accelerator.num_processes)
        count = accelerator.num_processes
        beside = f", {count} processes" if count > 1 else ""
        run.tell(f"Training on {supply.summary}, {steps} steps on {accelerator.device}{beside}")
        trainer = Trainer(
            model=network,
            loss=lambda method, batch: method.loss(
                batch,
                form=recipe.form,
                bce_weight=recipe.bce_weight,
                empty_size=recipe.empty_size,
                tumour_weight=recipe.tumour_weight,
            ),
            recipe=recipe,
            run=run,
            accelerator=accelerator,
            steps=steps,
            steps_per_epoch=epoch,
            groups=groups_of(network, recipe),
            folder=output,
            identity=identity,
        )
        trainer.resume()
        trainer.run_on(lambda start, by: stream.batches(recipe.batch, start=start, stride=by))
        result = cast(Method, trainer.result).requires_grad_().eval()
        if accelerator.is_main_process:
            result.config = with_seen_volumes(result.config, supply.cases(result.config))
            card = written_card(output, result.config)
            result.save_pretrained(output, half=recipe.half, card=card)
            earlier = None if recipe.start is None else resolve(recipe.start)
            write_training_scans(output, supply.hashes, earlier=earlier)
            facts = {
                "data": supply.summary,
                "generator": supply.generator,
                "tasks": [task.name for task in supply.tasks],
                "scans": supply.scans,
                "start": _start(recipe, carried),
            }
            complete(output, facts | outcome(trainer))
            if trainer.done and not run.keep_cases:
                remove_cases(output)
    return result


@contextmanager
def training_in(output: Path, recipe: Recipe, run: Run) -> Iterator[Accelerator]:
    """Join the processes of a training and lock its folder, which the main one does."""
    with accelerated(run, recipe.precision) as accelerator, held(output, run, accelerator):
        yield accelerator


@contextmanager
def held(output: Path, run: Run, accelerator: Accelerator, *, folds: int = 0) -> Iterator[None]:
    """Lock a training's folder in the main process; an error there is raised in all."""
    with ExitStack() as stack:
        on_main(accelerator, lambda: check_no_curve(output))
        on_main(accelerator, lambda: stack.enter_context(owned(output, resume=run.resume)))
        on_main(accelerator, lambda: check_readme(output, folds))
        yield


def identity_of(
    recipe: Recipe, processes: int, *, cases: Sequence[str], **facts: Any
) -> dict[str, Any]:
    """Return what must be equal for a training to be continued: all but how steps are shared.

    Args:
        recipe: How it is trained.
        processes: Processes that share each step.
        cases: What tells the cases apart; a digest of it stands for them.
        facts: What else the data says.
    """
    values = dataclasses.asdict(recipe)
    values["accumulate"] *= processes
    del values["train_on"]  # which the digest of the cases tells
    return values | facts | {"cases": digest_of(cases)}


def digest_of(cases: Sequence[str]) -> str:
    """Return what stands for cases in a record that names none."""
    digest = hashlib.sha256("\n".join(cases).encode()).hexdigest()
    return f"{len(cases)}, sha256 {digest}"


def outcome(trainer: Trainer) -> dict[str, Any]:
    """Return what every training.json says of how a training went."""
    recipe = trainer.recipe
    return {
        "recipe": dataclasses.asdict(recipe) | {"start": recorded_start(recipe.start)},
        "rate": recipe.rate or default_rate(trainer.model),
        "steps": trainer.steps,
        "steps_done": trainer.step,
        "complete": trainer.done,
        "ema_reached": None if trainer.decay is None else round(trainer.decay(trainer.step), 6),
        "seconds": round(trainer.seconds, 1),
        "processes": trainer.accelerator.num_processes,
        "device": str(trainer.accelerator.device),
        "torch": torch.__version__,
        "identity": trainer.identity,
    }


def network_of(recipe: Recipe, tasks: tuple[Task, ...]) -> tuple[Method, Carried | None]:
    """Build the network that learns these tasks, and say what was carried over into it."""
    torch.manual_seed(recipe.seed)
    if recipe.start is not None:
        recipe.check_start(load_config(resolve(recipe.start)))
        return network_from(recipe.start, tasks)
    config = dataclasses.replace(recipe.config, tasks=tasks)
    return METHODS[config.architecture](config), None


def patches(
    recipe: Recipe, supply: Supply, config: ModelConfig, *, workers: int = 0
) -> PatchStream:
    """Return the stream of patches that a network sees."""
    contract = config.preprocessing
    augmentation, sides = mirroring(AUGMENTATIONS[recipe.augmentation], config.tasks)
    sampling = Sampling(
        patch=recipe.patch or contract.patch,
        spacing=contract.spacing,
        foreground=recipe.foreground,
        patches_per_case=supply.patches_per_case,
        augmentation=augmentation,
        sides=sides,
    )
    return PatchStream(supply.source(config), sampling, recipe.seed, workers)


def mirroring(
    augmentation: Augmentation | None, tasks: tuple[Task, ...]
) -> tuple[Augmentation | None, Order | None]:
    """Return what of the mirroring is right for these tasks, and which becomes which by it.

    Left and right change places only where every one-sided task has its counterpart.
    """
    sides = mirrored_tasks(tasks)
    if augmentation is not None and sides is None:
        kept = tuple(axis for axis in augmentation.mirror if axis != 2)
        augmentation = dataclasses.replace(augmentation, mirror=kept)
    return augmentation, sides


def groups_of(network: Method, recipe: Recipe) -> list[dict[str, Any]] | None:
    """Return the optimiser's groups: the Transformer's weights in one of their own if asked to."""
    if recipe.transformer_rate is None:
        return None
    groups: list[list[torch.nn.Parameter]] = [[], []]
    for name, parameter in network.named_parameters():
        own = stage_of(name).split(".")[0] in ("transformer", "organ_decoder")
        groups[own].append(parameter)
    rates = (recipe.rate or default_rate(network), recipe.transformer_rate)
    pairs = zip(groups, rates, strict=True)
    return [{"params": group, "lr": rate} for group, rate in pairs if group]


def _start(recipe: Recipe, carried: Carried | None) -> dict[str, Any] | None:
    start = recorded_start(recipe.start)
    return {"from": start, **dataclasses.asdict(carried)} if carried else None


@dataclass(frozen=True)
class Carried:
    """Which of a network's tensors come from the weights that it started from.

    Attributes:
        kept: Taken over whole.
        widened: Taken over for the old tasks, new for the further ones.
        made: All new.
    """

    kept: tuple[str, ...]
    widened: tuple[str, ...]
    made: tuple[str, ...]

    def __str__(self) -> str:
        def some(names: tuple[str, ...]) -> str:
            return f" ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})" if names else ""

        return (
            f"{len(self.kept)} tensors kept, {len(self.widened)} widened{some(self.widened)}, "
            f"{len(self.made)} made new{some(self.made)}"
        )


def network_from(name: str, tasks: Sequence[Task]) -> tuple[Method, Carried]:
    """Build the network of given weights, for its own tasks and whatever others are given.

    A tensor that has a place a task, such as the queries' embeddings, keeps those of the old
    tasks; they come first. What is new is drawn at random, from torch's global generator. New
    queries are seen by the old ones (Eq. 13's self-attention), so old outputs may move a little.

    Args:
        name: Catalogue name, folder or hub repository.
        tasks: To be learnt; those that the network has already are recognised by name.

    Returns:
        The network, and what of it was kept.

    Raises:
        ValueError: If the weights are of no method, or label a task of that name otherwise.
    """
    config, state = load_config_and_state(name)
    if config.architecture not in METHODS:
        raise UserError(
            f"{name} is a {config.architecture}, which pretraining can't go on from; allowed are "
            f"{', '.join(METHODS)}"
        )
    # Heads that were added, and thresholds, fit these very weights only.
    config = dataclasses.replace(config.before_added, thresholds={})
    state = {name: value for name, value in state.items() if not name.startswith("added.")}
    known = {task.name: task for task in config.tasks}
    for task in tasks:
        old = known.get(task.name, task)
        if old.labelled != task.labelled:
            raise UserError(
                f"task {task.name!r} labels {' and '.join(task.categories)} here and "
                f"{' and '.join(old.categories)} in {name}; give it another name"
            )
    further = tuple(task for task in tasks if task.name not in known)
    network = METHODS[config.architecture](
        dataclasses.replace(config, tasks=(*config.tasks, *further))
    )
    return network, carry(network, state)


@torch.no_grad()
def carry(network: Method, state: dict[str, Tensor]) -> Carried:
    """Copy weights into a network that may have more tasks than they have.

    Raises:
        ValueError: If a tensor fits in no way.
    """
    kept: list[str] = []
    widened: list[str] = []
    own = network.state_dict()
    for key, value in state.items():
        target = own.get(key)
        shapes = (tuple(value.shape), None if target is None else tuple(target.shape))
        if target is None or len(shapes[0]) != target.ndim:
            raise UserError(f"weights hold {key} {shapes[0]}, the network {shapes[1]}")
        grown = [b - a for a, b in zip(value.shape, target.shape, strict=True)]
        if min(grown, default=0) < 0 or sum(map(bool, grown)) > 1:
            raise UserError(f"weights hold {key} {shapes[0]}, the network {shapes[1]}")
        target[tuple(slice(size) for size in value.shape)] = value
        (widened if any(grown) else kept).append(key)
    made = tuple(key for key in own if key not in state)
    return Carried(tuple(kept), tuple(widened), made)
