"""A network and a contract so small that a training takes seconds."""

from dataclasses import replace

import pytest
from plain_folders import SHORT

from mots_pretrained.adaptation.fit_head import fit_head
from mots_pretrained.config import (
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    Preprocessing,
    TransformerConfig,
)
from mots_pretrained.phantom.collections import write_collection


@pytest.fixture(scope="session")
def tiny() -> ModelConfig:
    return ModelConfig(
        encoder=EncoderConfig(depth=10, stem_width=4, widths=(8, 8, 8, 8)),
        transformer=TransformerConfig(
            width=12, heads=2, encoder_layers=1, decoder_layers=1, feedforward=24, levels=2
        ),
        decoder=DecoderConfig(widths=(8, 8, 8, 8, 8)),
        preprocessing=Preprocessing(
            spacing=(12.0, 12.0, 12.0), patch=(32, 32, 32), window=(32, 32, 32)
        ),
    )


@pytest.fixture
def scratch(tiny):
    return replace(SHORT, network=tiny)


@pytest.fixture(scope="module")
def bcv(tmp_path_factory):
    root = tmp_path_factory.mktemp("bcv")
    write_collection("bcv", root, cases=3, shape=(24, 32, 32))
    return root


@pytest.fixture(autouse=True)
def short_fits(monkeypatch):
    """Fit heads in few steps: what they then find is tests/adaptation's matter."""

    def short(*arguments, **options):
        return fit_head(*arguments, **{**options, "steps": 60})

    monkeypatch.setattr("mots_pretrained.training.finetune.fit_head", short)
