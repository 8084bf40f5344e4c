"""The loop: resumed weights bit-equal to uninterrupted ones, limits, log, average, processes."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from doubling import Loss, batches, squared, trained, training
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mots_pretrained.batch import Batch
from mots_pretrained.errors import UserError
from mots_pretrained.files import _beside, write_json
from mots_pretrained.training.folder import (
    BEFORE,
    CHECKPOINT,
    DAMAGED,
    RECORD,
    Checkpoint,
    begin,
    finished,
    load_checkpoint,
    save_checkpoint,
)
from mots_pretrained.training.recipe import Run


def halves(start, by):
    """The same samples, one a micro-batch: step k has the two of batch k."""
    for batch in batches(start // 2, by):
        for place in range(2):
            yield Batch(*(value[place : place + 1] for value in vars(batch).values()))


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def read_log(folder):
    return list(csv.DictReader((folder / "log.csv").read_text().splitlines()))


def test_loss_falls_and_the_average_is_what_counts():
    seen = []
    trainer = trained(steps=200, run=Run(on_log=seen.append))
    assert trainer.done
    assert seen == trainer.rows
    assert seen[-1].losses["total"] < 0.5 * seen[0].losses["total"]
    assert trainer.result is trainer.average
    assert not torch.equal(next(trainer.result.parameters()), next(trainer.model.parameters()))
    assert trained(steps=1, ema=None).result is not None


def test_resumed_training_gives_the_same_bits(tmp_path):
    whole = trained(tmp_path / "whole")
    part = trained(tmp_path / "part", stop=15)
    assert part.step == 20
    torch.rand(100)  # what happens to the global generator meanwhile does not matter
    rest = trained(tmp_path / "part", resume=True)
    assert torch.equal(weights(rest), weights(whole))
    averages = [torch.cat([p.flatten() for p in r.result.parameters()]) for r in (rest, whole)]
    assert torch.equal(*averages)
    logs = [read_log(tmp_path / name) for name in ("whole", "part")]
    for rows in logs:
        assert [row["step"] for row in rows] == ["10", "20", "30", "40"]
    assert [row["total"] for row in logs[0]] == [row["total"] for row in logs[1]]


def test_accumulated_micro_batches_are_one_batch():
    """The loss is a mean over samples, so the mean over its halves is the whole's."""
    both = []
    for stream, accumulate in ((batches, 1), (halves, 2)):
        with training(steps=5, accumulate=accumulate) as trainer:
            trainer.model[1].p = 0.0  # masks would be drawn for other shapes
            trainer.run_on(stream)
        both.append(trainer)
    torch.testing.assert_close(*map(weights, both), rtol=0, atol=1e-5)
    losses = [trainer.rows[-1].losses["total"] for trainer in both]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_resumed_training_with_accumulation_gives_the_same_bits(tmp_path):
    options = {"accumulate": 2, "run": Run(recompute=True), "stream": halves}
    whole = trained(**options)
    trained(tmp_path, stop=15, **options)
    rest = trained(tmp_path, resume=True, **options)
    assert torch.equal(weights(rest), weights(whole))


def test_what_is_computed_again_changes_no_bit_of_the_training():
    both = []
    for recompute in (False, True):
        with training(steps=10, ema=None, run=Run(recompute=recompute)) as trainer:
            trainer.model = nn.Sequential(trainer.model)  # a chain within a model is a block
            trainer.run_on(batches)
        both.append(weights(trainer))
    assert torch.equal(*both)


def test_half_precision_learns_with_float32_weights():
    trainer = trained(steps=60, precision="bfloat16")
    assert trainer.rows[-1].losses["total"] < 0.8 * trainer.rows[0].losses["total"]
    assert weights(trainer).dtype == torch.float32
    assert 0 < trainer.rows[-1].norm < 100
    with pytest.raises(UserError, match="float16 is for CUDA; on a processor take"):
        trained(precision="float16")


def test_trainings_of_different_precision_follow_each_other_in_one_process():
    for precision in ("float32", "bfloat16", "float32"):
        with training(steps=1, precision=precision) as trainer:
            seen = []

            def loss(net, batch, seen=seen):
                seen.append(net(batch.image).dtype)
                return squared(net, batch)

            trainer._objective.loss = loss
            trainer.run_on(batches)
        assert seen == [getattr(torch, precision)]


def test_log_rows_after_the_checkpoint_are_taken_back(tmp_path):
    trained(tmp_path, stop=10)
    with open(tmp_path / "log.csv", "a") as file:
        file.write("20,0,0,0,0,0\n")  # as a kill between log and checkpoint leaves it
    with training(tmp_path) as again:
        again.resume()
    assert [row["step"] for row in read_log(tmp_path)] == ["10"]


def test_only_the_same_training_is_resumed(tmp_path):
    trained(tmp_path, stop=5, identity={"steps": 40, "spacing": [4, 3, 3]})
    with pytest.raises(UserError, match=r"training with spacing \[4, 3, 3\], asked for is \[5, 4"):
        trained(tmp_path, identity={"steps": 40, "spacing": [5, 4, 4]})


def test_time_limit_ends_cleanly_with_a_checkpoint(tmp_path):
    assert trained(tmp_path, run=Run(max_minutes=1e-9)).step == 10
    with training(tmp_path) as again:
        again.resume()
    assert again.step == 10


def test_gradient_norm_is_clipped():
    norms, moved = [], []
    for clip in (None, 1e-3):
        with training(steps=1, clip=clip, ema=None) as trainer:
            trainer._stepper.step = lambda: None  # what the optimiser makes of it is not asked
            trainer.run_on(batches)
        norms.append(trainer.rows[-1].norm)
        moved.append(torch.cat([p.grad.flatten() for p in trainer.model.parameters()]).norm())
    assert norms[0] == norms[1] > 1e-3  # the log tells the norm before clipping
    assert moved[1].item() == pytest.approx(1e-3, rel=1e-3)


def test_global_generator_is_left_as_it_was():
    torch.manual_seed(3)
    expected = torch.rand(2)
    with training() as trainer:
        torch.manual_seed(3)
        trainer.run_on(batches)
    assert torch.equal(torch.rand(2), expected)


def test_denormals_are_zero_within_a_step_and_nowhere_else():
    """scipy's KDTree, which scores and phantoms may use, crashes where they are flushed."""

    def flushed():
        return (torch.tensor(1e-38) * 0.1).item() == 0

    seen = {"stream": [], "loss": []}

    def stream(start, by):
        for batch in batches(start, by):
            seen["stream"].append(flushed())
            yield batch

    def loss(net, batch):
        seen["loss"].append(flushed())
        return squared(net, batch)

    with training(steps=2, loss=loss) as trainer:
        trainer.run_on(stream, on_log=lambda row: seen.update(log=flushed()))
    assert seen == {"stream": [False] * 2, "loss": [True] * 2, "log": False}
    assert not flushed()


def test_a_loss_that_is_not_finite_ends_it_and_keeps_the_last_checkpoint(tmp_path):
    def breaking(net, batch):
        found = squared(net, batch)
        return Loss(found.error, found.total * (torch.nan if trainer.step >= 12 else 1))

    told = pytest.raises(FloatingPointError, match="near step 20; the last checkpoint is kept")
    with told, training(tmp_path, loss=breaking, run=Run(checkpoint_minutes=0)) as trainer:
        trainer.run_on(batches)
    sound = trained(stop=10)
    with training(tmp_path) as again:
        assert again.resume()
    assert again.step == 10
    assert torch.equal(weights(again), weights(sound))


def test_the_checkpoint_holds_no_code_and_what_is_none_is_told(tmp_path):
    trained(tmp_path, stop=10)
    header = (tmp_path / CHECKPOINT).read_bytes()
    size = int.from_bytes(header[:8], "little")
    assert {"model/0.weight", "average/0.weight", "optimizer/0/exp_avg"} <= {
        *json.loads(header[8 : 8 + size])
    }
    for content in (b"", b"PK\x03\x04 a zip", header[: len(header) // 2]):
        (tmp_path / CHECKPOINT).write_bytes(content)
        with pytest.raises(UserError, match="is not a readable checkpoint"):
            trained(tmp_path)


class Reads(TorchDispatchMode):
    """Counts how often a number is read from a tensor, for which a GPU would have to be waited."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_a_step_waits_for_nothing():
    with training(steps=3, accumulate=2) as trainer:
        trainer._stepper.step = lambda: None  # only fused, on a GPU, AdamW reads no number
        with Reads() as reads:
            trainer._step(halves(0, 1))
            assert reads.count == 0
            torch.ones(1).item()
            assert reads.count == 1


def test_a_damaged_checkpoint_is_replaced_by_the_one_before(tmp_path):
    whole = trained()
    trained(tmp_path, stop=20, run=Run(checkpoint_minutes=0))
    assert {path.name for path in tmp_path.glob("*.safetensors")} == {CHECKPOINT, BEFORE}
    path = tmp_path / CHECKPOINT
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 16
    path.write_bytes(data)
    sound = (tmp_path / BEFORE).read_bytes()
    with pytest.warns(UserWarning, match=r"is damaged.*; going on from the one before"):
        load_checkpoint(tmp_path)
    assert (tmp_path / BEFORE).read_bytes() == sound
    assert not path.exists()  # or the next checkpoint would be preceded by the damaged one
    assert (tmp_path / DAMAGED).read_bytes() == data
    (tmp_path / DAMAGED).rename(path)
    with pytest.warns(UserWarning, match=r"is damaged.*; going on from the one before"):
        again = trained(tmp_path, resume=True)
    for one, other in zip(weights(whole), weights(again), strict=True):
        assert torch.equal(one, other)
    (tmp_path / BEFORE).unlink()
    (tmp_path / CHECKPOINT).write_bytes(bytes(data))
    with pytest.raises(UserError, match="is not a readable checkpoint"):
        trained(tmp_path, resume=True)


ENDED = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
from doubling import training, batches
folder = pathlib.Path(sys.argv[2])
with training(folder) as trainer:
    trainer.resume()
    end = lambda row: row.step == 20 and os.kill(os.getpid(), signal.SIGTERM)
    trainer.run_on(batches, on_log=end)
print("not reached")
"""


def test_ended_by_sigterm_it_has_lost_no_step(tmp_path):
    whole, folder = trained(), tmp_path / "out"
    words = [sys.executable, "-c", ENDED, str(Path(__file__).parents[1]), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, ""), done.stderr
    with training(folder) as trainer:  # the interval of checkpoints is 15 minutes
        assert trainer.resume()
        assert trainer.step == 20
        trainer.run_on(batches)
    assert torch.equal(weights(trainer), weights(whole))


GROUP = """
import os, pathlib, signal, sys, time, warnings
sys.path.insert(0, sys.argv[1])
import numpy as np
from doubling import squared, training
from mots_pretrained.data.case import Case
from mots_pretrained.data.stream import Cycle, PatchStream, Sampling
calls = []
def loss(net, batch):
    calls.append(batch)
    if len(calls) == 12:
        if not os.fork():  # a worker that its parent ends is no failure
            os.killpg(0, signal.SIGTERM)
        time.sleep(0.5)  # until the worker would be dead, and its parent told so
    return squared(net, batch)
volume = np.zeros((1, 8, 8, 8), np.float32)
stream = PatchStream(Cycle([Case(volume, volume.astype(np.uint8))]), Sampling((4, 4, 4)), workers=1)
with training(pathlib.Path(sys.argv[2]), loss=loss, steps=400) as trainer:
    trainer.run_on(lambda start, by: stream.batches(2, start=start, stride=by))
print("not reached")
"""


def test_sigterm_to_the_whole_group_leaves_a_checkpoint_too(tmp_path):
    """As GNU timeout and Slurm send it: the workers got it as well, and died of it."""
    words = [sys.executable, "-c", GROUP, str(Path(__file__).parents[1]), str(tmp_path / "out")]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, start_new_session=True, timeout=200
    )
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, ""), done.stderr
    assert load_checkpoint(tmp_path / "out").values["step"] == 20, done.stderr


def test_a_worker_that_died_is_told_in_one_line(tmp_path):
    def dying(start, by):
        yield next(batches(start, by))
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    with pytest.raises(UserError, match=r"a worker process died.* with --resume"):
        trained(stream=dying)


def test_a_record_that_is_damaged_is_made_good_by_the_checkpoint(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    identity = {"steps": 3}
    save_checkpoint(folder, Checkpoint({"a": torch.zeros(1)}, {"identity": identity}))
    for damage in (b"", b"{", b'{"complete": 3}', None):
        (folder / RECORD).unlink(missing_ok=True)
        if damage is not None:
            (folder / RECORD).write_bytes(damage)
        assert begin(folder, identity) is None
        assert json.loads((folder / RECORD).read_text()) == {
            "complete": False, "identity": identity,
        }  # fmt: skip
        with pytest.raises(UserError, match="with steps 3, asked for is 4"):
            begin(folder, {"steps": 4})


def test_what_a_kill_after_the_end_has_left_is_tidied(tmp_path):
    save_checkpoint(tmp_path, Checkpoint({"a": torch.zeros(1)}, {"identity": {}}))
    draft = _beside(tmp_path / CHECKPOINT)
    draft.touch()
    write_json(tmp_path / RECORD, {"complete": True, "identity": {}})
    assert finished(tmp_path, {})["complete"]
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]
