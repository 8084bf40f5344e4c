"""Processes of one training: what launchers say, and real ones beside one."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from prepared_folder import write_prepared
from safetensors.torch import load_file

from mots_pretrained.errors import UserError
from mots_pretrained.phantom.collections import write_collection
from mots_pretrained.training.launch import accelerated, cores_a_process, join_slurm, on_main
from mots_pretrained.training.recipe import Recipe, Run, to_yaml

LAUNCHED = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "ACCELERATE_USE_CPU", "PMI_SIZE",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)


STEP = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[003-004],cpu7",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_JOB_ID": "1234567",
}


def test_srun_tells_what_torchrun_would():
    environment = dict(STEP)
    join_slurm(environment)
    assert {key: environment[key] for key in environment if key not in STEP} == {
        "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4",
        "MASTER_ADDR": "gpu003", "MASTER_PORT": "34567",
    }  # fmt: skip


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"},  # a batch script that starts one process
        STEP | {"SLURM_STEP_NUM_TASKS": "1"},
        STEP | {"WORLD_SIZE": "2", "RANK": "1"},  # torchrun within a step
        STEP | {"OMPI_COMM_WORLD_SIZE": "16", "OMPI_COMM_WORLD_RANK": "9"},  # mpirun's, by srun
        {},
    ],
)
def test_where_srun_has_started_no_others_nothing_changes(environment):
    found = dict(environment)
    join_slurm(found)
    assert found == environment


@pytest.mark.parametrize(
    ("cores", "environment", "own"),
    [
        (8, STEP | {"SLURM_CPUS_PER_TASK": "8"}, 8),  # bound to this task
        (32, STEP | {"SLURM_CPUS_PER_TASK": "8"}, 8),  # a cluster that binds none
        (32, STEP, 8),
        (32, {"LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "4", "SLURM_CPUS_PER_TASK": "32",
              "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}, 8),  # torchrun
        (32, {"LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8", "SLURM_CPUS_PER_TASK": "32",
              "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}, 8),
        (3, {"LOCAL_WORLD_SIZE": "4"}, 1),
        (6, {}, 6),
    ],
)  # fmt: skip
def test_which_cores_are_a_process_s_own(cores, environment, own):
    joined = dict(environment)
    join_slurm(joined)
    assert cores_a_process(cores, joined) == own


def test_accelerates_lonely_cpu_process_is_told_how_to_have_company(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    with accelerated(Run(), "float32") as accelerator:
        assert accelerator.num_processes == 1
    monkeypatch.setenv("MASTER_PORT", "29500")  # set where several were asked for
    with pytest.raises(UserError, match="only by MPI; use torchrun"), accelerated(Run(), "float32"):
        pass


def test_alone_the_main_process_does_the_work_and_its_error_is_its_own():
    with accelerated(Run(), "float32") as accelerator:
        assert on_main(accelerator, lambda: 3) == 3
        with pytest.raises(ZeroDivisionError):
            on_main(accelerator, lambda: 1 // 0)


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def together(command, count=2, **environment):
    """Start a command as so many processes of one training; return them."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port(), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **where, "RANK": str(rank), "LOCAL_RANK": str(rank),
                 "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), **environment},
        )
        for rank in range(count)
    ]  # fmt: skip


def mots(*words):
    return ["-m", "mots_pretrained", *words, "--device", "cpu", "--workers", "0"]


def launch(*words, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_equal_trainings(one, other):
    weights, others = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert weights.keys() == others.keys()
    for key, value in weights.items():
        torch.testing.assert_close(others[key], value, rtol=0, atol=1e-5)
    logs = [(folder / "log.csv").read_text().splitlines() for folder in (one, other)]
    assert len(logs[0]) == len(logs[1]) > 2
    for row, theirs in zip(logs[0][1:], logs[1][1:], strict=True):
        both = ([float(x) for x in line.split(",")[:-1]] for line in (row, theirs))
        values, found = both
        assert found == pytest.approx(values, rel=1e-4)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_processes_train_as_one_with_twice_the_accumulation(tiny, tmp_path):
    """Two tasks, dropout, augmentation, an average: all that could differ.

    Of two micro-batches the sum has one order only, so this holds to the last bit or nearly. Of
    more, sums in another order differ by a rounding, which AdamW's steps soon make larger.
    """
    recipe = Recipe(network=tiny, steps=12, batch=1, ema=0.9, rate=0.003, tasks=("liver", "colon"))
    for name, accumulate in (("one", 2), ("two", 1)):
        (tmp_path / f"{name}.yaml").write_text(to_yaml(replace(recipe, accumulate=accumulate)))
    write_prepared(tmp_path / "data", tiny.preprocessing, {"liver": 5, "colon": 4})

    def words(recipe, output):
        where = ["-i", tmp_path / "data", "-o", tmp_path / output]
        return mots("pretrain", *where, "--recipe", tmp_path / f"{recipe}.yaml")

    launch(*words("one", "one"))
    accelerate = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    for name, launcher, at in (
        ("accelerate", accelerate, "--main_process_port"),
        ("torchrun", torchrun, "--master-port"),
    ):
        shown = launch(*launcher, at, port(), *words("two", name))
        assert shown.count("2 processes") == 1  # one of them speaks
        assert_equal_trainings(tmp_path / "one", tmp_path / name)
    slurm = {
        "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": port(),
        "SLURM_STEP_TASKS_PER_NODE": "2", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    ranks = [
        subprocess.Popen(
            [sys.executable, *map(str, words("two", "srun"))],
            env={**os.environ, **slurm, "SLURM_PROCID": rank, "SLURM_LOCALID": rank},
            stdout=subprocess.DEVNULL,
        )
        for rank in "01"
    ]
    assert [rank.wait() for rank in ranks] == [0, 0]
    assert_equal_trainings(tmp_path / "one", tmp_path / "srun")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_processes_fine_tune_as_one(tiny, tmp_path):
    """They share preparing, training and validating, and one of them writes."""
    write_collection("bcv", tmp_path / "data", cases=4, shape=(32, 48, 48))
    recipe = Recipe(network=tiny, steps=20, batch=1, rate=3e-3, validate_every=10, held_out=2,
                    unfreeze=8)  # fmt: skip
    for name, accumulate in (("one", 2), ("two", 1)):
        (tmp_path / f"{name}.yaml").write_text(to_yaml(replace(recipe, accumulate=accumulate)))

    def words(recipe, output, *more):
        where = ["-i", tmp_path / "data", "-o", tmp_path / output, "--json"]
        return mots("finetune", *where, "--recipe", tmp_path / f"{recipe}.yaml", *more)

    one = json.loads(launch(*words("one", "one")))
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]
    two = json.loads(launch(*torchrun, port(), *words("two", "two", "--max-minutes", "1e-9")))
    assert not two["complete"]
    two = json.loads(launch(*torchrun, port(), *words("two", "two", "--resume")))
    assert two["complete"]
    assert two["mean_dice"] == pytest.approx(one["mean_dice"], abs=1e-3)
    assert_equal_trainings(tmp_path / "one", tmp_path / "two")
    assert not (tmp_path / "two" / ".cases").exists()


ON_MAIN = """
import os, signal, sys, time
from datetime import timedelta
from torch.distributed import distributed_c10d
from mots_pretrained.cli.frame import guarded
from mots_pretrained.errors import UserError
from mots_pretrained.training import launch
from mots_pretrained.training.recipe import Run

class OddError(UserError):
    def __init__(self, name, number):
        super().__init__(f"{name} {number}")

def odd():
    raise OddError("case", 3)

def work(words):
    with launch.accelerated(Run(), "float32") as accelerator:
        distributed_c10d._set_pg_timeout(timedelta(seconds=3))
        print(launch.on_main(accelerator, lambda: time.sleep(5) or "done"))
        for wrong in (lambda: open("/nowhere/file"), lambda: odd()):
            try:
                launch.on_main(accelerator, wrong)
            except Exception as error:
                print(repr(error), getattr(error, "filename", None))
        launch.on_main(accelerator, lambda: os.kill(os.getpid(), signal.SIGKILL))

if __name__ == "__main__":
    sys.exit(guarded(work, []))
"""


@pytest.fixture(scope="module")
def on_main_of_two(tmp_path_factory):
    """What two processes show and their statuses; the main one is killed in the end."""
    script = tmp_path_factory.mktemp("on_main") / "run.py"
    script.write_text(ON_MAIN)
    ranks = together([script], GLOO_SOCKET_IFNAME="lo")
    shown = [rank.communicate(timeout=60) for rank in ranks]
    return shown, [rank.returncode for rank in ranks]


def test_the_main_process_is_waited_for_beyond_any_time_limit(on_main_of_two):
    shown, _ = on_main_of_two
    assert [out.splitlines()[0] for out, _ in shown] == ["done", "done"]


def test_an_error_of_the_main_process_is_the_same_in_all(on_main_of_two):
    """Its kind and file decide on the exit status and on what is told."""
    shown, _ = on_main_of_two
    missing = "FileNotFoundError(2, 'No such file or directory') /nowhere/file"
    odd, sent = "OddError('case 3') None", "UserError('case 3') None"
    assert [out.splitlines()[1:] for out, _ in shown] == [[missing, odd], [missing, sent]]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_a_main_process_that_was_killed_ends_the_others_with_a_line(on_main_of_two):
    shown, statuses = on_main_of_two
    assert statuses == [-9, 1]
    assert "failed: ConnectionError: another process of this training has ended" in shown[1][1]
    assert "Traceback" not in shown[1][1]


RESUMING = """
import sys, torch
from pathlib import Path
from torch import nn
from mots_pretrained.training.launch import accelerated
from mots_pretrained.training.recipe import Recipe, Run
from mots_pretrained.training.trainer import Trainer
sys.path.insert(0, sys.argv[1])
from doubling import batches, squared
rank = int(__import__("os").environ.get("RANK", "0"))
folder = Path(sys.argv[2]) / str(rank)  # no disk is shared
folder.mkdir(parents=True, exist_ok=True)
torch.manual_seed(rank)  # nor do they begin with equal weights
torch.set_num_threads(1)
net = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Dropout(0.2), nn.Conv3d(4, 1, 1))
with accelerated(Run(), "float32") as accelerator:
    recipe = Recipe(steps=40, ema=0.9, rate=1e-2)
    trainer = Trainer(net, squared, recipe, Run(), accelerator, 40, folder=folder)
    resumed = trainer.resume()
    print(resumed, trainer.step, flush=True)
    stop = int(sys.argv[3])
    if len(sys.argv) > 4 and rank == int(sys.argv[4]):
        raise ZeroDivisionError("only here")
    trainer.run_on(batches, on_log=lambda row: row.step >= stop)
    both = (*trainer.model.parameters(), *trainer.average.parameters())
    print(repr(sum(p.double().sum() for p in both).item()))
"""


@pytest.fixture
def resuming(tmp_path):
    (tmp_path / "run.py").write_text(RESUMING)
    return [tmp_path / "run.py", os.path.dirname(os.path.dirname(__file__)), tmp_path]


@pytest.mark.long
def test_all_stand_at_the_main_ones_step_with_its_weights(resuming, tmp_path):
    """The second process has no checkpoint and other weights to begin with."""
    shown = [rank.communicate()[0].split() for rank in together([*resuming, 20])]
    assert shown[0] == shown[1]
    assert shown[0][:2] == ["False", "0"]
    assert not list((tmp_path / "1").iterdir())
    shown = [rank.communicate()[0].split() for rank in together([*resuming, 40])]
    assert shown[0] == shown[1]
    assert shown[0][:2] == ["True", "20"]


@pytest.mark.long
@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_one_process_ends_the_others(resuming, failing):
    ranks = together([*resuming, 40, failing])
    begun = time.monotonic()
    errors = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert "ZeroDivisionError: only here" in errors[failing]
    assert all(rank.returncode not in (0, None) for rank in ranks)
    assert time.monotonic() - begun < 120


@pytest.mark.long
def test_a_used_folder_is_refused_by_all(tiny, tmp_path):
    write_prepared(tmp_path / "data", tiny.preprocessing, {"liver": 3})
    (tmp_path / "tiny.yaml").write_text(to_yaml(Recipe(network=tiny, steps=1, batch=1)))
    words = mots("pretrain", "-i", tmp_path / "data", "-o", tmp_path / "out", "--recipe",
                 tmp_path / "tiny.yaml")  # fmt: skip
    launch(*words)
    ranks = together(words)
    errors = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [2, 2]
    assert "holds a finished training; choose another folder" in errors[0]
    assert errors[0].count("\n") == 1
