"""Processes of one training: shares, averages, what launchers say, and real ones beside one."""

import os
import socket
import subprocess
import sys

import pytest
import torch
from prepared_folder import write_prepared
from safetensors.torch import load_file

from mots_pretrained.training.processes import Processes, launched

LAUNCHED = ("RANK", "WORLD_SIZE", "ACCELERATE_USE_CPU", "MASTER_PORT", "PMI_RANK", "PMI_SIZE")


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("count", "accumulate"), [(1, 1), (1, 3), (2, 1), (3, 2)])
def test_a_steps_micro_batches_are_shared_without_rest(count, accumulate):
    shares = [list(Processes(rank, count).share(5, accumulate)) for rank in range(count)]
    size = count * accumulate
    assert sorted(number for share in shares for number in share) == [*range(5 * size, 6 * size)]
    assert {len(share) for share in shares} == {accumulate}
    # The next step's share goes on with the same stride: one stream a process serves all steps.
    assert Processes(count - 1, count).share(6, accumulate)[0] == shares[-1][-1] + count


def test_alone_nothing_is_averaged():
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.full((2,), 3.0)
    Processes().average_gradients([weight])
    assert weight.grad.tolist() == [3, 3]
    assert Processes().average(torch.tensor([2.0])).tolist() == [2]


def test_what_launchers_say(monkeypatch):
    assert launched() == Processes(0, 1)
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "4")
    assert launched() == Processes(1, 4)
    assert not launched().is_main
    monkeypatch.setenv("RANK", "2")  # torchrun's own names come first
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert launched() == Processes(2, 3)


def test_accelerates_lonely_cpu_process_is_told_how_to_have_company(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    assert launched() == Processes(0, 1)
    monkeypatch.setenv("MASTER_PORT", "29500")  # set where several were asked for
    with pytest.raises(ValueError, match=r"only by MPI .* use torchrun"):
        launched()


SCRIPT = """
import sys
from dataclasses import replace
from mots_pretrained.config import ModelConfig
from mots_pretrained.training import presets
from mots_pretrained.cli import main
if __name__ == "__main__":
    config = ModelConfig.from_json(open(sys.argv[1]).read())
    presets.SIZES["tiny"] = presets.Size(config, "small")
    sys.exit(main(sys.argv[2:]))
"""


def words(folder, output, *, accumulate, steps=12):
    """Two tasks, dropout, augmentation, an average: all that could differ."""
    return [
        str(folder / "run.py"),
        str(folder / "config.json"),
        *f"pretrain -o {folder / output} --size tiny --steps {steps} --batch 1 --ema 0.9".split(),
        *f"--accumulate {accumulate} --tasks liver,colon --workers 0 --threads 1".split(),
        *["--device", "cpu", "--lr", "0.003"],
    ]


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def launch(launcher, command, **environment):
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_processes_train_as_one_with_twice_the_accumulation(tiny, tmp_path):
    """Of two micro-batches the sum has one order only, so this holds to the last bit or nearly.

    Of more, sums in another order differ by a rounding, which AdamW's steps soon make larger.
    """
    (tmp_path / "config.json").write_text(tiny.to_json())
    (tmp_path / "run.py").write_text(SCRIPT)
    write_prepared(tmp_path / "data", tiny.preprocessing, {"liver": 5, "colon": 4})
    one = subprocess.run(
        [sys.executable, *words(tmp_path, "one", accumulate=2)], capture_output=True, text=True
    )
    assert one.returncode == 0, one.stderr
    accelerate = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    torchrun = ["torch.distributed.run", "--nproc-per-node", "2"]
    for name, launcher, at in (
        ("accelerate", accelerate, "--main_process_port"),
        ("torchrun", torchrun, "--master-port"),
    ):
        shown = launch([*launcher, at, str(port())], words(tmp_path, name, accumulate=1))
        assert shown.count("2 processes") == 1  # one of them speaks
        weights, others = (load_file(tmp_path / n / "model.safetensors") for n in ("one", name))
        assert weights.keys() == others.keys()
        for key, value in weights.items():
            torch.testing.assert_close(others[key], value, rtol=0, atol=1e-5)
        logs = [(tmp_path / n / "log.csv").read_text().splitlines() for n in ("one", name)]
        assert len(logs[0]) == len(logs[1]) == 3
        for row, other in zip(logs[0][1:], logs[1][1:], strict=True):
            values, theirs = ([float(x) for x in line.split(",")[:-1]] for line in (row, other))
            assert theirs == pytest.approx(values, rel=1e-4)
