"""Rank and number of processes, as the launchers tell them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mots_pretrained.errors import UserError
from mots_pretrained.training.add_organs import add_organs_folder
from mots_pretrained.training.curve import learning_curve
from mots_pretrained.training.processes import rank_and_count
from mots_pretrained.training.recipe import Recipe

STEP = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_ID": "0"}
BATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "1"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8"}


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, (0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "4"}, (3, 4)),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, (1, 2)),
        (OPEN_MPI, (5, 8)),
        (STEP, (1, 2)),
        (STEP | OPEN_MPI, (5, 8)),  # mpirun starts a task a node by srun, and these within it
        (STEP | {"RANK": "6", "WORLD_SIZE": "8"}, (6, 8)),  # as does torchrun
        (BATCH, (0, 1)),
        (BATCH | OPEN_MPI, (5, 8)),
        ({"RANK": "", "WORLD_SIZE": ""}, (0, 1)),
    ],
)
def test_every_launcher_is_understood(environment, found):
    assert rank_and_count(environment) == found


@pytest.mark.parametrize("launcher", [OPEN_MPI, STEP])
def test_what_one_process_makes_is_refused_to_several(launcher, tmp_path, monkeypatch):
    for name, value in launcher.items():
        monkeypatch.setenv(name, value)
    recipe = Recipe(start="transdodnet.phantom", steps=1)
    with pytest.raises(UserError, match="a curve is made by one process"):
        learning_curve(tmp_path, tmp_path / "out", recipe, counts=(1,), seeds=1)
    with pytest.raises(UserError, match="several processes share a folder"):
        add_organs_folder(tmp_path, tmp_path / "organs.safetensors", recipe)


def test_it_needs_no_torch():
    code = "import sys, mots_pretrained.training.processes; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
