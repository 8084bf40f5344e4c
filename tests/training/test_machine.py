"""Fitting a training to its machine, and what pretraining needs of one."""

import os
import subprocess
import sys

import pytest
import torch

from mots_pretrained.training.machine import (
    best_device,
    join_slurm,
    keep_freed_memory,
    prepare_machine,
)


def test_devices():
    assert best_device("cpu") == "cpu"
    assert best_device() == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="unknown device 'tpu'; allowed are auto, cpu"):
        best_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="'cuda:0' is not there"):
            best_device("cuda:0")


def test_what_was_never_tried_is_not_offered():
    """Three-dimensional deformable attention has not run on Apple's GPUs."""
    with pytest.raises(ValueError, match="unknown device 'mps'"):
        best_device("mps")


def test_workers_and_threads(monkeypatch):
    assert prepare_machine("cpu", workers=3) == 3
    assert prepare_machine("cpu") == 1
    assert 1 <= prepare_machine("cuda") <= 15
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(32), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("WORLD_SIZE", "16")  # two machines of eight processes
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert prepare_machine("cuda") == 3
    prepare_machine("cpu", threads=1)
    assert torch.get_num_threads() == 1


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
        {},
    ],
)
def test_where_srun_has_started_no_others_nothing_changes(environment):
    found = dict(environment)
    join_slurm(found)
    assert found == environment


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_glibc_keeps_memory_and_sums_stay_right():
    keep_freed_memory()  # False with another libc
    assert torch.ones(1 << 20).sum().item() == 1 << 20


def test_pretraining_on_phantoms_needs_no_medical_library():
    code = """
import sys
from pathlib import Path
from mots_pretrained.training.pretrain import network_of, patches
from mots_pretrained.training.recipe import Recipe
from mots_pretrained.training.sources import phantoms
recipe = Recipe(steps=1)
supply = phantoms(recipe, Path("unused"))
patches(recipe, supply, network_of(recipe, supply.tasks)[0].config)
heavy = {"monai", "nibabel", "blosc2", "batchgeneratorsv2", "matplotlib", "SimpleITK", "typer",
         "accelerate", "tensorboard"}
print(sorted(heavy & {name.split(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
