"""Eq. 11 at the paper's size: without a stack of samples over levels and points, and with it.

    python benchmarks/deformable_attention.py --threads 2

One self-attention of the Transformer encoder on a 64x192x192 patch: three levels, 10,512 queries,
8 heads, 4 points, width 192. Settings take turns in one process for time; each has a process of
its own for memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import torch
import torch.nn.functional as F
from record import clocked, forget_peak, least, memory_gib, write
from torch import Tensor

from mots_pretrained.model.deformable_attention import deformable_sum
from mots_pretrained.model.position import Shape, reference_points

SHAPES: list[Shape] = [(16, 24, 24), (8, 12, 12), (4, 6, 6)]
HEADS, POINTS, WIDTH = 8, 4, 192


def stacked(
    values: Tensor, shapes: list[Shape], locations: Tensor, weights: Tensor, *, heads: int
) -> Tensor:
    """The straightforward form: all samples side by side, then one weighted sum."""
    batch, queries = locations.shape[:2]
    channels = values.shape[-1] // heads
    samples = []
    for level, tokens in enumerate(values.split([d * h * w for d, h, w in shapes], dim=1)):
        volume = tokens.transpose(1, 2).reshape(batch * heads, channels, *shapes[level])
        grid = (2 * locations[:, :, :, level] - 1).transpose(1, 2).flatten(0, 1).unsqueeze(3)
        drawn = F.grid_sample(volume, grid, padding_mode="zeros", align_corners=False)
        samples.append(drawn.squeeze(-1))
    stack = torch.stack(samples, dim=-2).flatten(-2)
    scale = weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    return (stack * scale).sum(-1).view(batch, heads * channels, queries).transpose(1, 2)


FORMS = {"stacked": stacked, "ours": deformable_sum}


def inputs(batch: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    reference = reference_points(SHAPES)[None, :, None, None, None]
    queries = reference.shape[1]
    place = (batch, queries, HEADS, len(SHAPES), POINTS)
    values = torch.randn(batch, queries, WIDTH, generator=generator)
    locations = reference + 0.1 * torch.randn(*place, 3, generator=generator)
    weights = torch.rand(*place, generator=generator)
    return values, locations, weights


def forward(form: str, values: Tensor, locations: Tensor, weights: Tensor) -> None:
    with torch.inference_mode():
        FORMS[form](values, SHAPES, locations, weights, heads=HEADS)


def training(form: str, values: Tensor, locations: Tensor, weights: Tensor) -> None:
    values, locations, weights = (x.detach().requires_grad_() for x in (values, locations, weights))
    FORMS[form](values, SHAPES, locations, weights, heads=HEADS).square().sum().backward()


WORK = {"forward": forward, "forward and backward": training}


def memory(threads: int, form: str, work: str) -> float:
    """Return the memory in GiB that one run adds, measured in a process of its own."""
    command = [sys.executable, __file__, "--threads", str(threads), "--child", form, work]
    return float(json.loads(subprocess.check_output(command, text=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        form, work = options.child
        made = inputs()
        forget_peak()
        before = memory_gib("VmRSS")
        WORK[work](form, *made)
        print(json.dumps(memory_gib() - before))
        return
    made = inputs()
    rows: list[dict[str, object]] = []
    for work, run in WORK.items():
        runs: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
        for _ in range(options.repeats):
            for form in FORMS:
                runs[form].append(clocked(lambda run=run, form=form: run(form, *made)))
        for form in FORMS:
            found = least(runs[form])
            found["peak_gib"] = memory(options.threads, form, work)
            for metric, value in found.items():
                rows.append(
                    {
                        "table": "deformable attention",
                        "row": work,
                        "setting": f"{form}, {options.threads} threads",
                        "metric": metric,
                        "value": round(value, 4),
                        "steps": options.repeats,
                    }
                )
            print(f"{work:22} {form:8}", {k: round(v, 3) for k, v in found.items()}, flush=True)
    print(write(f"deformable_attention_{options.threads}threads", rows))


if __name__ == "__main__":
    main()
