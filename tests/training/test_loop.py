"""The loop: resumed weights bit-equal to uninterrupted ones, limits, log, average."""

import csv
from typing import NamedTuple

import pytest
import torch
from torch import nn

from mots_pretrained.batch import Batch
from mots_pretrained.training.loop import LoopSettings, Training


class Loss(NamedTuple):
    error: torch.Tensor
    total: torch.Tensor


def batches(start):
    """Batch k of a stream is a function of k; the task is to double the image."""
    step = start
    while True:
        image = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(step))
        yield Batch(image, 2 * image, torch.ones(2, 1, dtype=torch.bool), torch.zeros(2, 1))
        step += 1


def training(folder=None, *, identity="a", rate=1e-2, **settings):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Dropout(0.2), nn.Conv3d(4, 1, 1))

    def loss(batch):
        error = (net(batch.image) - batch.target).square().mean()
        return Loss(error, error)

    values = {"steps": 40, "log_every": 5, "ema": 0.9, "seed": 7, **settings}
    optimizer = torch.optim.AdamW(net.parameters(), rate)
    return Training(net, loss, optimizer, LoopSettings(**values), folder, identity)


def halves(start):
    """The same samples, one a micro-batch: step k has the two of batch k."""
    for batch in batches(start):
        for place in range(2):
            yield Batch(*(value[place : place + 1] for value in vars(batch).values()))


def weights(run):
    return torch.cat([p.detach().flatten() for p in (*run.model.parameters(),)])


def read_log(folder):
    return list(csv.DictReader((folder / "log.csv").read_text().splitlines()))


def stop_at(step):
    return lambda progress, _: progress.step >= step


def test_loss_falls_and_the_average_is_what_counts():
    seen = []
    run = training(steps=200)
    run.run(batches, on_log=lambda progress, net: seen.append((progress, net)) and None)
    assert run.done
    assert seen[-1][0].losses["total"] < 0.5 * seen[0][0].losses["total"]
    assert run.result is run.average.module is seen[0][1]
    assert not torch.equal(next(run.result.parameters()), next(run.model.parameters()))
    assert training(ema=None).result is not None


def test_resumed_training_gives_the_same_bits(tmp_path):
    whole = training(tmp_path / "whole")
    whole.run(batches)
    part = training(tmp_path / "part")
    part.run(batches, on_log=stop_at(15))
    assert part.step == 15
    torch.rand(100)  # what happens to the global generator meanwhile does not matter
    rest = training(tmp_path / "part")
    rest.resume()
    rest.run(batches)
    assert torch.equal(weights(rest), weights(whole))
    averages = [torch.cat([p.flatten() for p in r.result.parameters()]) for r in (rest, whole)]
    assert torch.equal(*averages)
    logs = [read_log(tmp_path / name) for name in ("whole", "part")]
    for rows in logs:
        assert [row["step"] for row in rows] == [str(step) for step in range(5, 41, 5)]
    assert [row["total"] for row in logs[0]] == [row["total"] for row in logs[1]]


def test_accumulated_micro_batches_are_one_batch():
    """The loss is a mean over samples, so the mean over its halves is the whole's."""
    whole, parts = training(steps=5), training(steps=5, accumulate=2)
    for run in (whole, parts):
        run.model[1].p = 0.0  # masks would be drawn for other shapes
    logs = []
    for run, stream in ((whole, batches), (parts, halves)):
        run.run(stream, on_log=lambda progress, _: logs.append(progress) and None)
    torch.testing.assert_close(weights(parts), weights(whole), rtol=0, atol=1e-5)
    assert logs[0].losses["total"] == pytest.approx(logs[1].losses["total"], abs=1e-5)


def test_resumed_training_with_accumulation_gives_the_same_bits(tmp_path):
    options = {"accumulate": 2, "recompute": True}
    whole = training(**options)
    whole.run(halves)
    part = training(tmp_path, **options)
    part.run(halves, on_log=stop_at(15))
    rest = training(tmp_path, **options)
    rest.resume()
    rest.run(halves)
    assert torch.equal(weights(rest), weights(whole))


def test_what_is_computed_again_changes_no_bit_of_the_training():
    plain, again = training(steps=10), training(steps=10, recompute=True)
    for run in (plain, again):
        run.model = nn.Sequential(run.model)  # a chain within a model is a block
        run.run(batches)
    assert torch.equal(weights(again), weights(plain))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_with_float32_weights(precision, tmp_path):
    seen = []
    run = training(tmp_path, steps=60, precision=precision)
    run.run(batches, on_log=lambda progress, _: seen.append(progress) and None)
    assert seen[-1].losses["total"] < 0.8 * seen[0].losses["total"]
    assert weights(run).dtype == torch.float32
    assert 0 < seen[-1].norm < 100  # of the unscaled gradient
    again = training(tmp_path, steps=60, precision=precision)
    again.resume()
    assert again._scaler.get_scale() == run._scaler.get_scale()


def test_log_lines_after_the_checkpoint_are_taken_back(tmp_path):
    run = training(tmp_path)
    run.run(batches, on_log=stop_at(10))
    with open(tmp_path / "log.csv", "a") as file:
        file.write("15,0,0,0,0,0\n")  # as a kill between log and checkpoint leaves it
    again = training(tmp_path)
    again.resume()
    assert [row["step"] for row in read_log(tmp_path)] == ["5", "10"]


def test_only_the_same_training_is_resumed(tmp_path):
    training(tmp_path, identity='{\n "steps": 40\n}').run(batches, on_log=stop_at(5))
    with pytest.raises(ValueError, match='there "steps": 40, here "steps": 50'):
        training(tmp_path, identity='{\n "steps": 50\n}').resume()
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        training(tmp_path / "elsewhere").resume()


def test_time_limit_ends_cleanly_with_a_checkpoint(tmp_path):
    run = training(tmp_path, max_minutes=1e-9)
    run.run(batches)
    assert run.step == 5
    again = training(tmp_path)
    again.resume()
    assert again.step == 5


def test_gradient_norm_is_clipped():
    free, tight = (
        training(steps=1, clip=clip, ema=None, rate=1.0, log_every=1) for clip in (None, 1e-3)
    )
    for run in (free, tight):
        run.optimizer = torch.optim.SGD(run.model.parameters(), lr=1.0)
    before = weights(tight)
    norms = []
    for run in (free, tight):
        run.run(batches, on_log=lambda progress, _: norms.append(progress.norm) and None)
    assert norms[0] == norms[1] > 1e-3  # the log tells the norm before clipping
    assert (weights(tight) - before).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_global_generator_is_left_as_it_was():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    run = training()
    state = torch.get_rng_state()
    run.run(batches)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(2), expected)
