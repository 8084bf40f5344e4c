"""All comparisons of the paper, as one queue that can be killed at any moment and goes on.

Does the next row and seed that is not done, adds its lines to the table's CSV (with steps, seconds,
machine and load) and goes on to the next, until all is done or the hours are over. What was begun
has its checkpoint under ``--work``. Started twice it does two rows at a time, one on each core.

    python benchmarks/evidence.py --list                        # what is left, and expected hours
    python benchmarks/evidence.py --pace                        # measure steps that --list needs
    python benchmarks/evidence.py --hours 6 --look look.json    # run; twice for two cores
    python benchmarks/evidence.py --print                       # all tables and figures of the CSVs
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import carry_over
import fig08
import transfer_runner
from carry_over import CarryOver
from record import write
from runner import Bench, Clock, Job, TableBench, Training, parser_of, plain_errors, show_all
from settings import SETTINGS
from tables import FULL, METHODS, TABLES
from transfer import TRANSFERS
from transfer_runner import TransferBench
from trial import store_of

from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.results import aligned
from mots_pretrained.evaluation.table import read_lines
from mots_pretrained.files import locked
from mots_pretrained.methods import configured
from mots_pretrained.networks import build
from mots_pretrained.training.byol import pretrain_byol
from mots_pretrained.training.finetune_folder import finetune_folder
from mots_pretrained.training.log import LOG
from mots_pretrained.training.pretrain import pretrain
from mots_pretrained.training.recipe import BYOL, Run
from mots_pretrained.training.score import Scoring, score_phantoms

PACE = "evidence_pace"
"""Name of the CSV of seconds a step, measured by ``--pace``."""


@dataclass(frozen=True)
class Part:
    """Rows of tables that are run one after the other.

    Attributes:
        tables: Names of the tables.
        seeds: How many seeds.
        rows: Names of the rows, with commas between; all if empty.
        share: Of the setting's steps.
    """

    tables: tuple[str, ...]
    seeds: int = 3
    rows: str = ""
    share: float = 1.0


PLAN = (
    Part(("table09",), rows=",".join(METHODS)),
    Part(("table10_bcv_4",), rows="TFS,MOTS,MOTS (random head)"),
    Part(("table12",)),  # starts from MOTS, too
    Part(("table10_bcv_4",), rows="SinglePT,BYOL-3D"),
    Part(
        ("table10_bcv_4",),
        rows="MOTS*,SinglePT (random head),BYOL-3D (random head),MOTS* (random head)",
    ),
    Part((carry_over.NAME,), seeds=2),
    Part(("table10_bcv_1", "table10_bcv_12")),
    Part(("table04", "table08", "table07", "table05", "table06"), seeds=2, share=1 / 3),
    Part(("table02", "table03"), seeds=2, share=1 / 3),
    Part(("table09",), rows=FULL),
)
"""What is run, in this order: the end is what is left out if time is short, never seeds."""


def benches(arguments: argparse.Namespace) -> list[Bench]:
    """Return the plan's tables."""
    tables = {table.name: table for table in TABLES}
    transfers = {table.name: table for table in TRANSFERS}
    recipe = SETTINGS[arguments.setting].recipe
    whole = arguments.steps or (recipe.steps if recipe and recipe.steps else 0)
    if not whole:
        raise ValueError(
            f"the setting {arguments.setting} has no number of steps to share out; give --steps, "
            "or run tables.py and transfer.py"
        )
    found: list[Bench] = []
    for part in PLAN:
        own = argparse.Namespace(**vars(arguments))
        own.seeds = min(part.seeds, arguments.seeds)
        own.rows, own.steps = part.rows, max(1, round(whole * part.share))
        for name in part.tables:
            if name in tables:
                found.append(TableBench(tables[name], own))
            elif name == carry_over.NAME:
                found.append(CarryOver(own))
            else:
                own.steps, own.pretrain_steps = 0, arguments.steps
                found.append(TransferBench(transfers[name], own))
    return found


def run(arguments: argparse.Namespace) -> bool:
    """Do one job after the other that nobody else does; tell whether all were done."""
    clock, work = Clock.of(arguments), Path(arguments.work)
    left = [job for bench in benches(arguments) for job in bench.jobs()]
    while left:
        passed = []
        for job in left:
            with held(job, work) as is_free:
                if not is_free:
                    passed.append(job)
                elif not job.is_done() and not job.do(clock):
                    print(f"{job}: time is up; run again to go on")
                    return False
        if len(passed) == len(left):
            return False
        left = passed
    return True


@contextmanager
def held(job: Job, work: Path) -> Iterator[bool]:
    """Hold a job and its trainings for this process; False if another one has any of them."""
    names = [f"{job}", *(training.folder.name for training in job.trainings)]
    with ExitStack() as stack:
        is_free = True
        for name in names:
            try:
                stack.enter_context(locked(work / "held" / name))
            except UserError:
                is_free = False
                break
        yield is_free


def paces(arguments: argparse.Namespace, jobs: list[Job]) -> dict[str, float]:
    """Return the measured seconds a step of each kind of training, of the longest log there is."""
    path = Path(arguments.results) / f"{PACE}.csv"
    found = {}
    if path.exists():
        lines = read_lines(path, setting=arguments.setting)
        found = {line["row"]: float(line["value"]) for line in lines}
    logged: dict[str, tuple[int, float]] = {}
    for training in {t.folder: t for job in jobs for t in job.trainings}.values():
        step, seconds = done_of(training)
        if step > max(20, logged.get(training.kind, (0, 0.0))[0]):
            logged[training.kind] = step, seconds
    return found | {kind: seconds / step for kind, (step, seconds) in logged.items()}


def done_of(training: Training) -> tuple[int, float]:
    """Return the steps that a training has done, and their seconds."""
    path = training.folder / LOG
    if not path.is_file():
        return 0, 0.0
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return (int(rows[-1]["step"]), float(rows[-1]["seconds"])) if rows else (0, 0.0)


def left_text(arguments: argparse.Namespace) -> str:
    """Return what is left, a table a line, with expected hours on one core."""
    groups = [(bench, bench.jobs()) for bench in benches(arguments)]
    jobs = [job for _, of in groups for job in of]
    pace = paces(arguments, jobs)
    seen: set[Path] = set()
    rows = [["table", "left", "of", "steps", "hours"]]
    total, unknown = 0.0, set()
    for _, of in groups:
        left = [job for job in of if not job.is_done()]
        steps, seconds = 0, 0.0
        for training in (t for job in left for t in job.trainings if t.folder not in seen):
            seen.add(training.folder)
            missing = max(0, (training.recipe.steps or 0) - done_of(training)[0])
            steps += missing
            seconds += missing * pace.get(training.kind, 0.0)
            if missing and training.kind not in pace:
                unknown.add(training.kind)
        seconds += sum(pace.get(f"overhead {_scored_like(job)}", 0.0) for job in left)
        total += seconds
        if of:
            cells = [str(len(left)), str(len(of)), str(steps), f"{seconds / 3600:.2f}"]
            rows.append([of[0].table, *cells])
    text = aligned(rows) + f"\n\n{total / 3600:.1f} hours of one core, of a row more rows share"
    if unknown:
        text += f"\nnot measured, counted as 0 (--pace): {', '.join(sorted(unknown))}"
    return text


def measure(arguments: argparse.Namespace, steps: int) -> Path:
    """Train each kind of network for some steps and write the seconds a step to a CSV."""
    clock, setting = Clock.of(arguments), SETTINGS[arguments.setting]
    jobs = [job for bench in benches(arguments) for job in bench.jobs()]
    kinds = {t.kind: t for job in reversed(jobs) for t in job.trainings}
    rows: list[dict[str, object]] = []

    def add(kind: str, value: float, count: int) -> None:
        shared = {"table": PACE, "setting": arguments.setting, "metric": "seconds"}
        rows.append({**shared, "row": kind, "value": f"{value:.4f}", "steps": count})
        write(PACE, rows, Path(arguments.results))  # what is measured survives a kill
        print(f"{kind:40} {value:.3f}", flush=True)

    with tempfile.TemporaryDirectory() as place:
        store = store_of(arguments.setting, Path(place), phantoms=2)
        for number, (kind, training) in enumerate(sorted(kinds.items())):
            recipe = replace(training.recipe, steps=steps, warm_up=0)
            folder, run = Path(place) / str(number), clock.run()
            if kind.startswith("fine-tuning"):
                per_step, fitting = _fine_tuned(kind.split()[1], Path(place), folder, arguments)
                add(kind, per_step, 50)
                add(f"overhead {kind}", fitting, 1)
                continue
            if kind.startswith(carry_over.NAME):
                pretrain(folder, replace(recipe, phantoms=1), run=replace(run, workers=0))
            else:
                train = pretrain_byol if recipe.method == BYOL else pretrain
                train(folder, recipe, data=store, run=run)
            record = json.loads((folder / "training.json").read_text("utf-8"))
            add(kind, record["seconds"] / steps, steps)
        for name in ("multi_nets", "transdodnet"):
            net = build(configured(name, setting.base))
            begun = time.perf_counter()
            score_phantoms(net.eval(), Scoring(("dice", "hd")), cases=2, everywhere=True)
            each = (time.perf_counter() - begun) / 2
            add(f"overhead {name}", each * setting.cases, 2)
    return Path(arguments.results) / f"{PACE}.csv"


def _fine_tuned(
    kind: str, place: Path, folder: Path, arguments: argparse.Namespace
) -> tuple[float, float]:
    """Return the seconds a step of fine-tuning, validations included, and of fitting a head."""
    table = next(b for b in benches(arguments) if isinstance(b, TransferBench)
                 and b.table.kind == kind)  # fmt: skip
    start, steps = place / f"start_{kind}", min(50, table.fit.steps or 50)
    build(SETTINGS[arguments.setting].base).save_pretrained(start)
    recipe = replace(table.fit, start=str(start), steps=steps, validation=table.material.held_out)
    if not table.material.held_out:
        recipe = replace(recipe, held_out=0, validate_every=None)
    history = finetune_folder(table.material.folder, folder, recipe, run=Run())
    fitted = history.fitted or {"seconds": 0.0}
    return history.rows[-1].seconds / steps, fitted["seconds"]


def show(arguments: argparse.Namespace) -> None:
    """Print every table that has lines, and draw the figures."""
    done = set()
    for bench in benches(arguments):
        if bench.results.path not in done:
            done.add(bench.results.path)
            show_all(bench)
    size = "x".join(map(str, SETTINGS[arguments.setting].base.preprocessing.window))
    name = f"fig08_{arguments.setting}_{size}"
    if (Path(arguments.results) / f"{name}.csv").exists():
        fig08.show(name, Path(arguments.results), f"table09_{arguments.setting}_phantom.csv")


def _scored_like(job: Job) -> str:
    if not job.table.startswith("table0"):
        return job.trainings[-1].kind if job.trainings else ""
    return "multi_nets" if job.row.startswith("Multi-Nets") else "transdodnet"


def main() -> None:
    arguments = _arguments()
    with plain_errors():
        if arguments.print:
            show(arguments)
        elif arguments.pace:
            print(measure(arguments, arguments.pace))
        elif arguments.list:
            print(left_text(arguments))
        else:
            is_all = run(arguments)
            print("all is done" if is_all else left_text(arguments))


def _arguments() -> argparse.Namespace:
    parser = parser_of("All comparisons of the paper, one after the other")
    transfer_runner.add_options(parser)
    carry_over.add_options(parser)
    parser.add_argument("--hours", type=float, default=0.0, help="0: until all is done")
    parser.add_argument("--list", action="store_true", help="say what is left")
    parser.add_argument("--pace", type=int, nargs="?", const=10, default=0, metavar="STEPS",
                        help="measure seconds a step")  # fmt: skip
    parser.set_defaults(setting="evidence", workers=0, threads=1)
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.setting, arguments.checkpoint_minutes = "smoke", 0.0
    if arguments.rows or arguments.seeds > 3 or arguments.pretrain_steps:
        parser.error("rows, seeds and steps of pretraining are those of PLAN: leave out --rows and "
                     "--pretrain-steps, and give at most --seeds 3")  # fmt: skip
    arguments.max_minutes = arguments.max_minutes or 60 * arguments.hours
    return arguments


if __name__ == "__main__":
    main()
