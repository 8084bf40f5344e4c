"""BYOL-3D's frozen encoder beside random ones: how much of the organs a linear map can read off it.

Of each cell of the coarsest feature map (64 x 96 x 96 mm at the small size) a ridge regression
tells which share of it liver, kidneys, hepatic vessels, pancreas and spleen fill. R2 on phantoms
that neither encoder nor regression has seen, all of appearance as in pretraining.

    python benchmarks/linear_probe.py --weights DIR
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import record
import torch
from torch.nn import functional

import mots_pretrained as mots
from mots_pretrained.data.patches import draw_start, extract
from mots_pretrained.tasks import MOTS_TASKS
from mots_pretrained.training.phantoms import TorsoSource

ORGANS = [(2 * i, task.organ) for i, task in enumerate(MOTS_TASKS) if task.labelled[0]]
WINDOWS = 4
PENALTIES = (1.0, 10.0, 100.0, 1000.0)


def windows(
    contract: mots.Preprocessing, phantoms: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images ``(N, 1, D, H, W)`` and organs' shares of cells ``(N, cells, organs)``."""
    source = TorsoSource(contract, seed=10_000 + seed, randomise=0.6, labels="complete")
    images, shares = [], []
    for index in range(phantoms):
        case = source(index)
        for window in range(WINDOWS):
            rng = np.random.default_rng([seed, index, window])
            start = draw_start(case, contract.patch, rng, foreground=0.5)
            image, target = extract(case, start, contract.patch)
            organs = torch.from_numpy(target[[channel for channel, _ in ORGANS]]).float()
            images.append(torch.from_numpy(image))
            shares.append(functional.avg_pool3d(organs, mots.MOTSBackbone.stride).flatten(1).T)
    return torch.stack(images), torch.stack(shares)


@torch.no_grad()
def features(backbone: mots.MOTSBackbone, images: torch.Tensor) -> torch.Tensor:
    """Return the coarsest map's vectors, ``(N, cells, channels)``."""
    maps = [backbone.encoder(image[None])[-1].flatten(2)[0].T for image in images]
    return torch.stack(maps)


def probe(
    train: tuple[torch.Tensor, torch.Tensor], test: tuple[torch.Tensor, torch.Tensor]
) -> np.ndarray:
    """Return R2 of each organ; the penalty is chosen on the last quarter of the training cells."""
    x, y = (part.flatten(0, 1).double() for part in train)
    cut = 3 * len(x) // 4
    best = max(PENALTIES, key=lambda p: _r2(x[:cut], y[:cut], x[cut:], y[cut:], p).mean())
    x_test, y_test = (part.flatten(0, 1).double() for part in test)
    return _r2(x, y, x_test, y_test, best).numpy()


def _r2(
    x: torch.Tensor, y: torch.Tensor, x_new: torch.Tensor, y_new: torch.Tensor, penalty: float
) -> torch.Tensor:
    mean, scale = x.mean(0), x.std(0).clamp_min(1e-6)
    a, b = (x - mean) / scale, (x_new - mean) / scale
    weights = torch.linalg.solve(a.T @ a + penalty * torch.eye(x.shape[1]), a.T @ (y - y.mean(0)))
    residual = (y_new - y.mean(0) - b @ weights).square().sum(0)
    return 1 - residual / (y_new - y_new.mean(0)).square().sum(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True, help="folder of mots pretrain --recipe byol3d")
    parser.add_argument("--phantoms", type=int, default=16, help="to learn the linear map on")
    parser.add_argument("--test", type=int, default=12, help="to score it on")
    parser.add_argument("--seeds", type=int, default=3, help="of random encoders, and of phantoms")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    backbone = mots.MOTSBackbone.from_pretrained(arguments.weights).eval()
    rows: list[dict[str, object]] = []
    found: dict[str, dict[tuple[str, str], float]] = {"BYOL-3D": {}, "random": {}}
    for seed in range(arguments.seeds):
        torch.manual_seed(seed)
        random = mots.MOTSBackbone(backbone.config).eval()
        contract = backbone.config.preprocessing
        train = windows(contract, arguments.phantoms, 2 * seed)
        test = windows(contract, arguments.test, 2 * seed + 1)
        for row, encoder in (("BYOL-3D", backbone), ("random", random)):
            start = time.perf_counter()
            seen, unseen = ((features(encoder, images), y) for images, y in (train, test))
            for (_, organ), value in zip(ORGANS, probe(seen, unseen), strict=True):
                found[row][str(seed), organ] = float(value)
                rows.append(
                    {"table": "linear_probe", "row": row, "setting": Path(arguments.weights).name}
                    | {"seed": seed, "category": organ, "metric": "r2", "value": float(value)}
                    | {"seconds": round(time.perf_counter() - start, 2)}
                )
    organs = [organ for _, organ in ORGANS]
    print(f"{'R2':10}" + "".join(f"{organ:>16}" for organ in organs) + f"{'mean':>16}")
    for row, scores in found.items():
        means = [np.mean([v for (_, o), v in scores.items() if o == organ]) for organ in organs]
        print(f"{row:10}" + "".join(f"{value:16.3f}" for value in (*means, np.mean(means))))
    for organ in organs:  # so few seeds have no interval; their own differences say as much
        more = [found["BYOL-3D"][key] - found["random"][key] for key in found["random"]
                if key[1] == organ]  # fmt: skip
        print(f"{organ}: {', '.join(f'{value:+.3f}' for value in more)} more, seed by seed")
    print(record.write("linear_probe", rows))


if __name__ == "__main__":
    main()
