"""A training that a processor ends in a second: the task is to double the image."""

from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

from mots_pretrained.batch import Batch
from mots_pretrained.training.launch import accelerated
from mots_pretrained.training.recipe import Recipe, Run
from mots_pretrained.training.trainer import Trainer


class Loss(NamedTuple):
    error: torch.Tensor
    total: torch.Tensor


def batches(start, by):
    """Batch k of a stream is a function of k; the task is to double the image."""
    step = start
    while True:
        image = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(step))
        yield Batch(image, 2 * image, torch.ones(2, 1, dtype=torch.bool), torch.zeros(2, 1))
        step += by


def squared(net, batch):
    error = (net(batch.image) - batch.target).square().mean()
    return Loss(error, error)


@contextmanager
def training(folder=None, *, loss=squared, identity=None, run=None, **changes):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Dropout(0.2), nn.Conv3d(4, 1, 1))
    recipe = Recipe(**{"steps": 40, "ema": 0.9, "seed": 7, "rate": 1e-2, **changes})
    run = run or Run()
    if folder is not None:
        folder.mkdir(exist_ok=True)
    with accelerated(run, recipe.precision) as accelerator:
        yield Trainer(net, loss, recipe, run, accelerator, recipe.steps, folder=folder,
                      identity=identity or {"a": 1})  # fmt: skip


def trained(folder=None, *, stream=batches, stop=None, resume=False, **options):
    with training(folder, **options) as trainer:
        assert trainer.resume() is resume
        trainer.run_on(stream, on_log=None if stop is None else lambda row: row.step >= stop)
    return trainer
