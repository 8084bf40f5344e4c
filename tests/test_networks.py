"""Every parameter count that the paper prints, exactly, and the registry of architectures."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_networks import SIZE, SMALLEST, small

from mots_pretrained.config import EncoderConfig, ModelConfig, TransformerConfig
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.networks import ARCHITECTURES, build, load
from mots_pretrained.published.conference import ConferenceUNet


def parameters(config: ModelConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build(config).parameters())


def transformer(
    width: int = 192, encoder: int = 3, decoder: int = 3, levels: int = 3
) -> ModelConfig:
    return ModelConfig(
        transformer=TransformerConfig(
            width=width,
            encoder_layers=encoder,
            decoder_layers=decoder,
            feedforward=4 * width,
            levels=levels,
        )
    )


@pytest.mark.parametrize(
    ("paper", "config", "exact"),
    [
        pytest.param("40.52", transformer(384, 1, 1), 40_517_589, id="Tables 4 and 5, 1+1"),
        pytest.param("43.77", transformer(384, 3, 1), 43_770_837, id="Table 5, 3+1"),
        pytest.param("44.96", transformer(384, 1, 3), 44_955_093, id="Table 5, 1+3"),
        pytest.param("48.21", transformer(384, 3, 3), 48_208_341, id="Tables 5 and 6, 3+3"),
        pytest.param("59.74", transformer(384, 6, 6), 59_744_469, id="Table 5, 6+6"),
        pytest.param("36.49", transformer(96), 36_489_045, id="Table 6, 96"),
        pytest.param("39.05", transformer(192), 39_049_941, id="Table 6, 192, final"),
        pytest.param("82.67", transformer(768), 82_671_573, id="Table 6, 768"),
        pytest.param("38.46", transformer(levels=1), 38_457_045, id="1 scale"),
        pytest.param("38.80", transformer(levels=2), 38_802_645, id="2 scales"),
    ],
)
def test_transformer_generators(paper: str, config: ModelConfig, exact: int) -> None:
    found = parameters(config)
    assert found == exact
    assert f"{found / 1e6:.2f}" == paper


@pytest.mark.parametrize(
    ("paper", "extra", "exact"), [("35.31", 0, 35_313_472), ("42.49", 2, 42_489_152)]
)
def test_convolution_generators_of_table_4(paper: str, extra: int, exact: int) -> None:
    found = parameters(
        ModelConfig(
            architecture="dodnet",
            encoder=EncoderConfig(extra_blocks=extra),
            transformer=None,
        )
    )
    assert found == exact
    assert f"{found / 1e6:.2f}" == paper


def test_mode_c_counts_as_mode_a_and_mode_b_lacks_one_projection() -> None:
    counts = {
        fusion: parameters(ModelConfig(transformer=TransformerConfig(fusion=fusion)))
        for fusion in ("A", "B", "C")
    }
    assert counts["A"] == counts["C"] == 39_049_941
    assert counts["A"] - counts["B"] == 256 * 192 + 2 * 256


def test_weight_standardisation_adds_no_parameter() -> None:
    assert parameters(ModelConfig(weight_standardisation=True)) == 39_049_941


def test_the_network_has_no_buffers() -> None:
    with torch.device("meta"):
        net = build(ModelConfig())
    assert len(net.state_dict()) == 346  # published 345, one of which is two of ours
    assert list(net.buffers()) == []


@pytest.mark.parametrize(("name", "kind"), [("mots", MOTSBackbone), ("conference", ConferenceUNet)])
def test_a_backbone_alone_is_of_its_own_class(name: str, kind: type, tmp_path: Path) -> None:
    config = small("backbone", backbone=name)
    net = build(config)
    assert type(net) is kind
    net.save_pretrained(tmp_path / "net")
    back = load(tmp_path / "net")
    assert type(back) is kind
    x = torch.randn(1, 1, *SMALLEST.get(name, SIZE))
    torch.testing.assert_close(back(x).decoder, net.eval()(x).decoder)


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(ValueError, match=r"architecture must be one of .*, not 'unet'"):
        build(dataclasses.replace(small(), architecture="unet"))


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["transdodnet", "dodnet", "segmenter"])
def test_networks_can_be_exported(architecture: str) -> None:
    net = build(small(architecture)).eval()
    x = torch.randn(1, 1, *SIZE)
    with torch.no_grad():
        exported = torch.export.export(net, (x,)).module()
        torch.testing.assert_close(exported(x), net(x), rtol=0, atol=1e-4)


def image_for(net: torch.nn.Module, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    size = SMALLEST.get(net.config.backbone, SIZE)
    return torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(1)).to(dtype)


def finest(out: object) -> torch.Tensor:
    return out if isinstance(out, torch.Tensor) else out.decoder


@pytest.fixture(params=ARCHITECTURES)
def net(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    return build(small(request.param)).eval()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_network_computes_in_other_precisions(net, dtype):
    with torch.no_grad():
        single = finest(net(image_for(net)))
        other = finest(net.to(dtype)(image_for(net, dtype)))
    assert other.dtype == dtype
    correlation = torch.corrcoef(torch.stack([single.flatten(), other.float().flatten()]))[0, 1]
    assert correlation > (0.99 if dtype == torch.float64 else 0.9)


def test_every_network_survives_copies_pickles_and_data_parallel(net):
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    others = [
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        torch.load(file, weights_only=False),
        torch.nn.DataParallel(net),
    ]
    with torch.no_grad():
        expected = finest(net(image_for(net)))
        for other in others:
            torch.testing.assert_close(finest(other(image_for(net))), expected, rtol=0, atol=1e-5)


COMPILE = """
import json, sys, torch
sys.path.insert(0, sys.argv[1])
from small_networks import SIZE, SMALLEST, small
from mots_pretrained.batch import Batch
from mots_pretrained.config import NewHeadConfig
from mots_pretrained.methods.base import Method
from mots_pretrained.networks import ARCHITECTURES, build
from mots_pretrained.tasks import MOTS_TASKS

def compiled(function, *given):
    torch._dynamo.reset()
    out = torch.compile(function, fullgraph=True, backend="eager")(*given)
    own = function(*given)
    out, own = (getattr(x, "decoder", getattr(x, "total", x)) for x in (out, own))
    torch.testing.assert_close(out, own, rtol=1e-4, atol=1e-4)

done = {}
for name in sys.argv[2:]:
    torch.manual_seed(0)
    architecture, _, head = name.partition(" ")
    changes = {} if architecture in ("backbone", "segmenter") else {"tasks": MOTS_TASKS[:2]}
    if head:
        changes["new_head"] = NewHeadConfig(head)
    net = build(small(architecture, **changes))
    image = torch.randn(2, 1, *SMALLEST.get(net.config.backbone, SIZE))
    target = torch.randint(0, 2, (2, 2, *image.shape[2:]), dtype=torch.uint8)
    known = torch.tensor([[True, True], [False, True]])
    batch = Batch(image, target, known, torch.tensor([[0], [1]]))
    done[name] = []
    with torch.no_grad():
        compiled(net.eval(), image)
    done[name].append("forward")
    if not isinstance(net, Method):
        compiled(net, image)
        done[name].append("gradients")
    elif name not in ("multi_nets", "multi_head"):
        compiled(net.loss, batch)
        done[name].append("loss")
print(json.dumps(done))
"""


@pytest.mark.long
def test_every_network_and_its_loss_compile_without_a_graph_break():
    """In a process of its own: shapes are not checked there, which would break the graph.

    In the loss of Multi-Nets and Multi-Head the batch's tasks choose what is computed.
    """
    names = [*ARCHITECTURES, "segmenter levels"]
    own = [sys.executable, "-c", COMPILE, str(Path(__file__).parent), *names]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(own, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    alone, by_gradients = (
        ("multi_nets", "multi_head"),
        ("backbone", "segmenter", "segmenter levels"),
    )
    assert json.loads(done.stdout.splitlines()[-1]) == {
        name: ["forward"] + ["gradients" if name in by_gradients else "loss"] * (name not in alone)
        for name in names
    }
