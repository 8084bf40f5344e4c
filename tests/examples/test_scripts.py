"""The example scripts run on phantoms and show what they promise."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = ("features", "new_head", "channels", "new_organ", "monai_plug")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_short_and_says_how_to_run_it(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text()
    assert len(text.splitlines()) < 60
    assert f"python examples/{name}.py" in text


@pytest.mark.long
def test_features(capsys: pytest.CaptureFixture[str]) -> None:
    likeness = script("features").main()
    assert likeness.shape == (4, 4)
    assert likeness[2, 3] > likeness[0, 2]  # two chests are more alike than chest and abdomen
    assert "memory 2   (1, 48, 3, 3, 3)" in capsys.readouterr().out


@pytest.mark.long
def test_new_head() -> None:
    losses = script("new_head").main(steps=20)
    assert losses[-1] < losses[0]


@pytest.mark.long
def test_channels() -> None:
    losses = script("channels").main()
    assert losses["first"] == losses["mean"]  # one channel is its own mean
    # The instance norm behind the first convolution takes the scale out, but for its epsilon.
    assert losses["first"] == pytest.approx(losses["first_scaled"], abs=1e-3)
    assert losses["zero_new"] != pytest.approx(losses["first"], abs=1e-4)


@pytest.mark.long
def test_new_organ() -> None:
    dice, size, same = script("new_organ").main(steps=200)
    assert dice > 0.3
    assert size <= 200_000
    assert same


@pytest.mark.long
def test_monai_plug(capsys: pytest.CaptureFixture[str]) -> None:
    assert script("monai_plug").main() == (1, 14, 32, 64, 64)
    assert "gradients reach" in capsys.readouterr().out
