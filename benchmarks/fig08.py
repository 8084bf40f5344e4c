"""Fig. 8: accuracy against inference time and parameters, all methods measured in one run.

    python benchmarks/fig08.py --setting paper --shape 64 192 192 --threads 2
    python benchmarks/fig08.py --setting small --dice benchmarks/results/table09_small_phantom.csv

Counts each method's parameters and FLOPs and measures its seconds, for one task and for all seven,
methods taking turns. The paper's own figures are of "a single network that can only process a
single partial segmentation task"; the column for one task is that. Accuracy comes from Table 9's
CSV; with it the figure is drawn.
"""

import argparse
from pathlib import Path

import torch
from long_table import LongTable
from record import clocked, least, write
from settings import SETTINGS
from table09 import NAMES
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mots_pretrained.evaluation.results import aligned
from mots_pretrained.methods import configured
from mots_pretrained.networks import build
from mots_pretrained.report.trade_off import MethodPoint, draw_trade_off
from mots_pretrained.training.machine import best_device, prepare_machine

TASKS = {"one task": ["liver"], "seven tasks": None}
Costs = dict[str, dict[str, dict[str, float]]]


def main() -> None:
    arguments = _arguments()
    device = best_device(arguments.device)
    prepare_machine(device, threads=arguments.threads)
    base = SETTINGS[arguments.setting].base
    shape = tuple(arguments.shape or base.preprocessing.window)
    networks: dict[str, nn.Module] = {}
    for title, name in NAMES.items():
        torch.manual_seed(0)
        networks[title] = build(configured(name, base)).eval().requires_grad_(False).to(device)
    costs = measure(networks, torch.randn(1, 1, *shape, device=device), arguments.repeats)
    size = "x".join(map(str, shape))
    setting = f"{arguments.setting}, {size}, {torch.get_num_threads()} threads, {device}"
    path = write(f"fig08_{arguments.setting}_{size}", lines(networks, costs, setting))
    dice = accuracy(arguments.dice)
    print(text(networks, costs, dice))
    print(f"\n{setting}\n{path}")
    if dice:
        points = [
            MethodPoint(title, costs[title]["seven tasks"]["wall_seconds"], dice[title], count(net))
            for title, net in networks.items()
            if title in dice
        ]
        draw_trade_off(points, arguments.output, title=f"Accuracy and cost, {setting}")
        print(arguments.output)


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


def accuracy(path: str | None) -> dict[str, float]:
    """Read the mean Dice, in percent, of each method out of Table 9's CSV."""
    if path is None:
        return {}
    if not Path(path).exists():
        raise SystemExit(f"no such file: {path}; make it with: python benchmarks/table09.py")
    settings = {line["setting"] for line in LongTable(Path(path), "table09", "").lines}
    found: dict[str, float] = {}
    for setting in sorted(settings):
        table = LongTable(Path(path), "table09", setting)
        for title in NAMES:
            if (mean := table.results(title).mean_dice) is not None:
                found[title] = 100 * mean
    return found


def text(networks: dict[str, nn.Module], costs: Costs, dice: dict[str, float]) -> str:
    """Return the figures as a table."""
    rows = [("method", "M parameters", *(f"{m}, {t}" for t in TASKS for m in
             ("GFLOP", "seconds", "CPU s")), "mDice")]  # fmt: skip
    for title, net in networks.items():
        cells = [
            f"{costs[title][what][metric]:.2f}"
            for what in TASKS
            for metric in ("gflop", "wall_seconds", "cpu_seconds")
        ]
        rows.append(
            (
                title,
                f"{count(net) / 1e6:.2f}",
                *cells,
                f"{dice[title]:.2f}" if title in dice else "-",
            )
        )
    return aligned(rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fig. 8: accuracy against cost")
    parser.add_argument("--setting", choices=list(SETTINGS), default="small")
    parser.add_argument("--shape", type=int, nargs=3, help="the setting's window by default")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dice", help="Table 9's CSV")
    parser.add_argument("-o", "--output", default="fig08.png")
    return parser.parse_args()


if __name__ == "__main__":
    main()
