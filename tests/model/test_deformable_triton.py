"""Triton's kernels of deformable attention against the plain form: interpreted, and on a GPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from mots_pretrained.model import deformable_attention

KERNELS = "mots_pretrained.model.deformable_triton"

# The interpreter is chosen when Triton is imported, so that each check is a process of its own.
START = """
import math, os, torch
from mots_pretrained.model.deformable_attention import deformable_sum
from mots_pretrained.model.deformable_triton import triton_sum

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
SHAPES = [(3, 5, 4), (2, 2, 3), (1, 2, 1)]
BATCH, HEADS, QUERIES, CHANNELS = 1, 2, 35, 3
# more queries than a block, channels of no power of two

def inputs(dtype, values_dtype=None):
    generator = torch.Generator().manual_seed(1)
    tokens = sum(math.prod(shape) for shape in SHAPES)
    values = torch.randn(BATCH, tokens, HEADS * CHANNELS, generator=generator, dtype=dtype)
    place = (BATCH, QUERIES, HEADS, 3, 2)
    locations = torch.rand(*place, 3, generator=generator, dtype=dtype) * 1.5 - 0.25
    locations[0, 0, 0, 0, 0] = 1e6  # far outside
    weights = torch.randn(*place, generator=generator, dtype=dtype)
    return [made.to(DEVICE) for made in (values.to(values_dtype or dtype), locations, weights)]

def both(made):
    found = []
    for function in (triton_sum, deformable_sum):
        leaves = [x.clone().requires_grad_() for x in made]
        out = function(leaves[0], SHAPES, *leaves[1:], heads=HEADS)
        found.append((out, *torch.autograd.grad(out.double().sin().sum(), leaves)))
    return zip(*found, strict=True)

"""
CHECKS = {
    "single, and bfloat16 values": """
for ours, plain in both(inputs(torch.float32)):
    assert ours.dtype == plain.dtype
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=2e-5)
HEADS = 1
for ours, plain in both(inputs(torch.float32, torch.bfloat16)):
    assert ours.dtype == plain.dtype
    # a sum rounded to bfloat16 once, 8 bits, and a gradient of it
    torch.testing.assert_close(ours.double(), plain.double(), rtol=2e-2, atol=2e-2)
""",
    "forward and backward each on the tensors' device": """
from contextlib import nullcontext
from mots_pretrained.model import deformable_triton
devices, launched_on = [], deformable_triton._on
deformable_triton._on = lambda device: devices.append(device) or launched_on(device)
leaves = [x.requires_grad_() for x in inputs(torch.float32)]
total = triton_sum(leaves[0], SHAPES, *leaves[1:], heads=HEADS)
assert devices == [total.device]
total.sum().backward()
assert devices == [total.device] * 2
""",
    "double, several images, and gradients by differences": """
BATCH = 2
for ours, plain in both(inputs(torch.float64)):
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-9)
SHAPES, QUERIES, HEADS = [(2, 3, 2)], 2, 1
values, locations, weights = inputs(torch.float64)
leaves = values[:1], locations[:1, :, :, :1, :1] , weights[:1, :, :, :1, :1]
leaves[1].copy_(torch.rand(leaves[1].shape).double() * 0.8 + 0.11)
torch.autograd.gradcheck(
    lambda v, l, w: triton_sum(v, SHAPES, l, w, heads=1),
    [leaf.contiguous().requires_grad_() for leaf in leaves], eps=1e-7, atol=1e-6,
    nondet_tol=1e-12 if DEVICE == "cuda" else 0,  # a GPU adds in any order
)
""",
}


TRITON = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)


def assert_equal_to_the_plain_form(check, **chosen):
    # The plain form is what MOTS_TRITON=0 leaves on a GPU; triton_sum is called by its name.
    settings = {**os.environ, **chosen, "MOTS_TRITON": "0"}
    words = [sys.executable, "-c", START + CHECKS[check]]
    done = subprocess.run(words, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@TRITON
@pytest.mark.long
@pytest.mark.parametrize("check", CHECKS)
def test_it_equals_the_plain_form_with_all_gradients(check):
    assert_equal_to_the_plain_form(check, TRITON_INTERPRET="1")


@TRITON
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")
@pytest.mark.parametrize("check", CHECKS)
def test_compiled_it_does_so_on_a_gpu(check):
    assert_equal_to_the_plain_form(check, TRITON_INTERPRET="0")


def test_it_is_for_cuda_alone(monkeypatch):
    def never(device):
        raise AssertionError

    monkeypatch.setattr(deformable_attention, "has_kernels", never)
    layer = deformable_attention.DeformableAttention(12, heads=2, levels=1, points=2)
    query = torch.rand(1, 4, 12)
    layer(query, torch.rand(1, 4, 3), torch.rand(1, 8, 12), [(2, 2, 2)]).sum().backward()


@pytest.mark.parametrize(
    ("setting", "found", "capability", "wanted"),
    [
        (None, True, (7, 0), True),
        (None, True, (6, 1), False),
        (None, False, (9, 0), False),
        ("0", True, (9, 0), False),
    ],
)
def test_it_is_used_where_it_can_be(monkeypatch, setting, found, capability, wanted):
    monkeypatch.delenv("MOTS_TRITON", raising=False)
    if setting is not None:
        monkeypatch.setenv("MOTS_TRITON", setting)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if found else None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setitem(sys.modules, KERNELS, SimpleNamespace(try_kernels=lambda device: None))
    assert deformable_attention.has_kernels.__wrapped__(torch.device("cuda")) is wanted


def test_without_a_compiler_attention_stays_plain(monkeypatch):
    def refused(device):
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC.")

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, KERNELS, SimpleNamespace(try_kernels=refused))
    with pytest.warns(UserWarning, match=r"do not run on cuda:1 \(Failed to find C compiler\.\)"):
        assert not deformable_attention.has_kernels.__wrapped__(torch.device("cuda:1"))


@TRITON
def test_a_device_is_made_the_current_one(monkeypatch):
    deformable_triton = importlib.import_module(KERNELS)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext(device))
    with deformable_triton._on(torch.device("cuda:1")) as current:
        assert current == torch.device("cuda:1")
    with deformable_triton._on(torch.device("cpu")) as current:
        assert current is None


def test_drawn_graphs_and_deterministic_gradients_are_plain():
    assert not deformable_attention._must_be_plain()
    torch.use_deterministic_algorithms(True)
    try:
        assert deformable_attention._must_be_plain()
        with torch.no_grad():
            assert not deformable_attention._must_be_plain()
    finally:
        torch.use_deterministic_algorithms(False)
