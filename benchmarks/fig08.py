"""Fig. 8: accuracy against inference time and parameters, all methods measured in one run.

    python benchmarks/fig08.py --setting paper --shape 64 192 192 --threads 2
    python benchmarks/fig08.py --setting evidence
    python benchmarks/fig08.py --setting evidence --print    # of the CSVs, nothing is measured

Counts each method's parameters and FLOPs and measures its seconds, for one task and for all seven,
methods taking turns. The paper's own figures are of "a single network that can only process a
single partial segmentation task"; the column for one task is that. Accuracy comes from Table 9's
CSV of the same setting; where that is, the figure is drawn.
"""

import argparse
from pathlib import Path

import torch
from long_table import LongTable
from record import RESULTS, clocked, least, write
from settings import SETTINGS
from tables import METHODS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mots_pretrained.config import ModelConfig
from mots_pretrained.evaluation.results import aligned
from mots_pretrained.evaluation.table import read_lines
from mots_pretrained.methods import configured
from mots_pretrained.networks import build
from mots_pretrained.report.trade_off import MethodPoint, draw_trade_off
from mots_pretrained.training.machine import best_device, prepare_machine

TASKS = {"one task": ["liver"], "seven tasks": None}
Costs = dict[str, dict[str, dict[str, float]]]


def main() -> None:
    arguments = _arguments()
    base = SETTINGS[arguments.setting].base
    shape = tuple(arguments.shape or base.preprocessing.window)
    size = "x".join(map(str, shape))
    name = f"fig08_{arguments.setting}_{size}"
    if not arguments.print:
        measured(arguments, base, shape, name)
    show(name, Path(arguments.results), f"table09_{arguments.setting}_phantom.csv")


def measured(
    arguments: argparse.Namespace, base: ModelConfig, shape: tuple[int, ...], name: str
) -> None:
    """Measure all methods and write the CSV."""
    device = best_device(arguments.device)
    prepare_machine(device, threads=arguments.threads)
    networks: dict[str, nn.Module] = {}
    for title, method in METHODS.items():
        torch.manual_seed(0)
        networks[title] = build(configured(method, base)).eval().requires_grad_(False).to(device)
    costs = measure(networks, torch.randn(1, 1, *shape, device=device), arguments.repeats)
    setting = f"{arguments.setting}, {name.split('_')[-1]}, {torch.get_num_threads()} threads"
    write(name, lines(networks, costs, f"{setting}, {device}"), Path(arguments.results))


def show(name: str, results: Path, table9: str) -> None:
    """Print what was measured, and draw it where Table 9 says how well the methods do."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    for line in read_lines(results / f"{name}.csv"):
        key = line["category"], line["metric"]
        found.setdefault(line["row"], {})[key] = float(line["value"])
    dice = accuracy(results / table9)
    print(f"{text(found, dice)}\n\n{results / name}.csv")
    points = [
        MethodPoint(
            title,
            values["seven tasks", "wall_seconds"],
            dice[title],
            int(values["", "parameters"]),
        )
        for title, values in found.items()
        if title in dice
    ]
    if points:
        draw_trade_off(points, results / f"{name}.png", title=f"Accuracy and cost, {name}")
        print(results / f"{name}.png")


@torch.inference_mode()
def measure(networks: dict[str, nn.Module], image: torch.Tensor, repeats: int) -> Costs:
    """Count FLOPs once, then measure the least of several passes; methods take turns."""

    def passed(net: nn.Module, tasks: list[str] | None) -> None:
        net(image, tasks=tasks)
        if image.is_cuda:
            torch.cuda.synchronize()

    costs: Costs = {title: {} for title in networks}
    for title, net in networks.items():
        for what, tasks in TASKS.items():
            with FlopCounterMode(display=False) as counter:
                passed(net, tasks)
            costs[title][what] = {"gflop": counter.get_total_flops() / 1e9}
    for what, tasks in TASKS.items():
        runs: dict[str, list[dict[str, float]]] = {title: [] for title in networks}
        for _ in range(repeats):
            for title, net in networks.items():
                runs[title].append(clocked(lambda net=net, tasks=tasks: passed(net, tasks)))
        for title, measured in runs.items():
            costs[title][what] |= {
                k: v for k, v in least(measured).items() if k.endswith("_seconds")
            }
    return costs


def count(net: nn.Module) -> int:
    """Count parameters."""
    return sum(p.numel() for p in net.parameters())


def lines(networks: dict[str, nn.Module], costs: Costs, setting: str) -> list[dict[str, object]]:
    """Return the long table's lines."""
    rows: list[dict[str, object]] = []
    for title, net in networks.items():
        values = {("", "parameters"): float(count(net))}
        for what, found in costs[title].items():
            values |= {(what, metric): value for metric, value in found.items()}
        rows += [
            {"table": "fig08", "row": title, "setting": setting, "category": what}
            | {"metric": metric, "value": f"{value:.6g}" if what else int(value)}
            for (what, metric), value in values.items()
        ]
    return rows


def accuracy(path: Path) -> dict[str, float]:
    """Read the mean Dice, in percent, of each method out of Table 9's CSV, if there is one."""
    found: dict[str, float] = {}
    settings = {line["setting"] for line in LongTable(path, "table09", "").lines}
    for setting in sorted(settings):
        table = LongTable(path, "table09", setting)
        for title in METHODS:
            if (mean := table.results(title).mean_dice) is not None:
                found[title] = 100 * mean
    return found


def text(found: dict[str, dict[tuple[str, str], float]], dice: dict[str, float]) -> str:
    """Return the figures as a table."""
    kinds = {"GFLOP": "gflop", "seconds": "wall_seconds", "CPU s": "cpu_seconds"}
    columns = [(f"{head}, {what}", what, m) for what in TASKS for head, m in kinds.items()]
    rows = [("method", "M parameters", *(head for head, _, _ in columns), "mDice")]
    for title, values in found.items():
        cells = [f"{values[what, metric]:.2f}" for _, what, metric in columns]
        millions = f"{values['', 'parameters'] / 1e6:.2f}"
        rows.append((title, millions, *cells, f"{dice[title]:.2f}" if title in dice else "-"))
    return aligned(rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fig. 8: accuracy against cost")
    parser.add_argument("--setting", choices=list(SETTINGS), default="small")
    parser.add_argument("--shape", type=int, nargs=3, help="the setting's window by default")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--print", action="store_true", help="draw the CSVs, measure nothing")
    parser.add_argument("--results", default=str(RESULTS))
    return parser.parse_args()


if __name__ == "__main__":
    main()
