"""Fitting a training to its machine, and what pretraining needs of one."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mots_pretrained.training.machine import (
    best_device,
    delayed_sigterm,
    exiting_on_sigterm,
    flushed_denormals,
    keep_freed_memory,
    kept_generators,
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


def test_generators_are_put_back_after_an_error_too():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with pytest.raises(ZeroDivisionError), kept_generators():
        torch.rand(100) / (1 // 0)
    assert torch.equal(torch.rand(2), expected)


def test_sigterm_is_held_back_once_and_takes_effect_afterwards():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with delayed_sigterm() as came:
            assert not came()
            signal.raise_signal(signal.SIGTERM)
            assert (came(), heard) == (True, [])
            signal.raise_signal(signal.SIGTERM)
            assert heard == [signal.SIGTERM]  # who asks twice does not wait
        assert heard == 2 * [signal.SIGTERM]
        with pytest.raises(ZeroDivisionError), delayed_sigterm():
            raise ZeroDivisionError
        signal.raise_signal(signal.SIGTERM)
        assert len(heard) == 3
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_error_after_a_sigterm_is_told_before_that_ends_the_process():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))

    def fail():
        with delayed_sigterm():
            signal.raise_signal(signal.SIGTERM)
            raise OSError("the disk is full")

    try:
        told = pytest.warns(UserWarning, match="ended by SIGTERM, and before that by: the disk is")
        with told, pytest.raises(OSError, match="is full"):
            fail()
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_sigterm_may_leave_as_an_exit_does():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left, exiting_on_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert left.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_beside_the_main_thread_nobody_hears_signals():
    with ThreadPoolExecutor() as pool:
        assert pool.submit(lambda: delayed_sigterm().__enter__()()).result() is False
        pool.submit(lambda: exiting_on_sigterm().__enter__()).result()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_ends_at_once():
    with delayed_sigterm() as came:
        child = os.fork()
        if not child:
            signal.raise_signal(signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        assert not came()


def test_denormals_are_zero_as_long_as_is_asked_for_and_on_a_cpu():
    def is_zero():
        return (torch.tensor(1e-38) * 0.1).item() == 0

    with flushed_denormals(torch.device("cpu")):
        assert is_zero()
    with flushed_denormals(torch.device("cuda")):
        assert not is_zero()
    assert not is_zero()


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
from mots_pretrained.training.phantoms import phantoms
recipe = Recipe(steps=1)
supply = phantoms(recipe, Path("unused"))
patches(recipe, supply, network_of(recipe, supply.tasks)[0].config)
heavy = {"monai", "nibabel", "blosc2", "batchgeneratorsv2", "matplotlib", "SimpleITK", "typer",
         "accelerate", "tensorboard"}
print(sorted(heavy & {name.split(".")[0] for name in sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
