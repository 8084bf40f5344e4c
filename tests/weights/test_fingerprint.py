from __future__ import annotations

import json

import pytest
import torch
from small_networks import small

from mots_pretrained.networks import build
from mots_pretrained.weights.fingerprint import (
    TOLERANCES,
    bundled_input,
    deviation,
    differences,
    fingerprint,
    read_fingerprint,
    to_text,
    weights_sha256,
)


def measured(net: torch.nn.Module) -> dict:
    return fingerprint(net, net.config, net.state_dict())


def test_the_bundled_input_is_the_same_everywhere() -> None:
    image = bundled_input(2)
    assert image.shape == (1, 2, 32, 64, 64)
    assert image.abs().max() <= 1
    # Liver: 0.35 + 0.02 * (sin(0.9 * 20) + sin(0.7 * 30 + 1) + cos(1.1 * 12)); air: about -1.
    assert image[0, 0, 20, 30, 12].item() == pytest.approx(0.350921, abs=1e-6)
    assert image[0, 0, 30, 30, 18].item() == pytest.approx(-1.0, abs=0.06)
    assert torch.equal(image[0, 1], image[0, 0].roll(5, dims=2))


def test_the_same_network_has_no_differences() -> None:
    net = build(small()).eval()
    stored = json.loads(to_text(measured(net)))
    assert differences(measured(net), stored) == []
    assert stored["shape"] == [1, 7, 2, 32, 64, 64]
    assert len(stored["logits"]) == 64


def test_other_weights_are_told_and_so_is_other_code() -> None:
    net = build(small()).eval()
    stored = measured(net)
    with torch.no_grad():
        net.kernel_generator[2].weight.mul_(1.01)
    faults = differences(measured(net), stored)
    assert len(faults) == 2
    assert "not those that were stored" in faults[0]
    assert "deviate by" in faults[1]


def test_another_shape_is_told() -> None:
    net = build(small()).eval()
    found = {**measured(net), "shape": [1, 2]}
    assert "logits have shape [1, 2]" in differences(found, measured(net))[0]


def test_half_precision_deviates_more_and_is_allowed_more() -> None:
    net = build(small()).eval()
    stored = measured(net)
    assert deviation(net, net.config, stored) == 0
    apart = deviation(net, net.config, stored, precision="bfloat16")
    assert 1e-4 < apart < TOLERANCES["bfloat16"]
    with pytest.raises(ValueError, match="stored were"):
        deviation(net, net.config, {**stored, "shape": [1, 2]})


@pytest.mark.parametrize("precision", TOLERANCES)
def test_the_device_of_the_network_is_the_one_that_is_measured(precision, monkeypatch) -> None:
    """Fault 12: autocast of the CPU stood around work on a GPU, and TF32 was left on there."""
    seen: list[tuple[str, bool]] = []
    autocast, to = torch.autocast, torch.Tensor.to

    def on_a_gpu(kind: str, dtype: torch.dtype, enabled: bool):
        seen.append((kind, enabled))
        return autocast("cpu", dtype, enabled=enabled)

    def network(image):
        flags = (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
        assert flags == (False, False)
        return image.mean() * torch.ones(1, 2, 3)

    monkeypatch.setattr(torch, "autocast", on_a_gpu)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, d: self if d == "cuda:0" else to(self, d))
    before = torch.backends.cudnn.allow_tf32
    stored = fingerprint(network, small(), {"w": torch.zeros(1)})
    deviation(network, small(), stored, precision=precision, device="cuda:0")
    assert seen == [("cpu", False), ("cuda", precision == "bfloat16")]
    assert torch.backends.cudnn.allow_tf32 == before


def test_a_damaged_file_is_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no fingerprint.json"):
        read_fingerprint(tmp_path)
    net = build(small()).eval()
    sound = measured(net)
    for change in ({"places": [10**9] * 64}, {"logits": []}, {"tolerances": {}}, {"std": None}):
        (tmp_path / "fingerprint.json").write_text(to_text({**sound, **change}))
        with pytest.raises(ValueError, match="no fingerprint that this version reads"):
            read_fingerprint(tmp_path)
    (tmp_path / "fingerprint.json").write_text(to_text(sound))
    assert differences(measured(net), read_fingerprint(tmp_path)) == []


def test_weights_hash_names_and_values() -> None:
    one = {"a": torch.ones(2), "b": torch.zeros(1)}
    assert weights_sha256(one) == weights_sha256(dict(reversed(one.items())))
    assert weights_sha256(one) == weights_sha256({k: v.double() for k, v in one.items()})
    assert weights_sha256(one) != weights_sha256({"a": torch.zeros(2), "b": torch.zeros(1)})
    assert weights_sha256(one) != weights_sha256({"c": torch.ones(2), "b": torch.zeros(1)})


def test_logits_that_are_not_finite_are_refused() -> None:
    net = build(small()).eval()
    with torch.no_grad():
        net.kernel_generator[2].bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        measured(net)
