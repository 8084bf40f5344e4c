"""Fitting a training to its machine, and what pretraining needs of one."""

import subprocess
import sys

import pytest
import torch

from mots_pretrained.training.machine import best_device, keep_freed_memory, prepare_machine


def test_devices():
    assert best_device("cpu") == "cpu"
    assert best_device() == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match=r"unknown device 'tpu'; allowed are auto, cpu, cuda, mps"):
        best_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="'cuda:0' is not there"):
            best_device("cuda:0")


def test_workers_and_threads():
    assert prepare_machine("cpu", workers=3) == 3
    assert prepare_machine("cpu") == 1
    assert 1 <= prepare_machine("cuda") <= 15
    prepare_machine("cpu", threads=1)
    assert torch.get_num_threads() == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_glibc_keeps_memory_and_sums_stay_right():
    keep_freed_memory()  # False with another libc
    assert torch.ones(1 << 20).sum().item() == 1 << 20


def test_pretraining_on_phantoms_needs_no_medical_library():
    code = """
import sys
from mots_pretrained.training.pretrain_mots import pretrain
from mots_pretrained.training.pretraining import Pretraining
settings = Pretraining()
supply = settings.supply()
settings.stream(supply, settings.network(supply.tasks)[0].config).source
heavy = {"monai", "nibabel", "blosc2", "batchgeneratorsv2", "matplotlib", "SimpleITK", "typer",
         "accelerate", "tensorboard"}
print(sorted(heavy & {name.split(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
