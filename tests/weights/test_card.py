"""Model cards: a header that the Hub reads, and what a reader needs to know."""

from __future__ import annotations

from dataclasses import replace

import pytest
from described_model import SAID

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.weights.card import Description, model_card
from mots_pretrained.weights.card_renewal import read_card


def test_the_header_is_valid_card_data_with_its_scores():
    from huggingface_hub import ModelCardData
    from huggingface_hub.repocard import RepoCard

    said = Description(name="a: b", scores={"liver": 0.91234}, dataset="14 phantoms: unseen")
    text = model_card(ModelConfig(), said)
    data = RepoCard(text, ignore_metadata_errors=False).data.to_dict()
    card = ModelCardData(**data)
    assert card.license == "unknown"  # never ours by default
    assert card.library_name == "mots_pretrained"
    (result,) = card.eval_results
    assert result.dataset_name == "14 phantoms: unseen"
    assert result.metric_type == "dice"
    assert result.metric_name == "Dice, liver"
    assert result.metric_value == pytest.approx(0.9123)
    assert "model-index" not in model_card(ModelConfig())


def test_contract_and_labels_are_told():
    contract = Preprocessing(spacing=(3.0, 1.5, 1.5), patch=(32, 96, 96), clip=(-200, 300))
    text = model_card(
        ModelConfig(preprocessing=contract), Description(training="200 steps on phantoms")
    )
    assert "3 x 1.5 x 1.5 mm" in text
    assert "[-200, 300] HU" in text
    assert "32 x 96 x 96" in text
    assert "- colon: colon_tumour" in text
    assert "200 steps on phantoms" in text
    assert "no\naccuracy on patients is claimed" in text
    own = ModelConfig(architecture="segmenter", classes=("a", "b"), exclusive=False)
    assert "may overlap: a, b" in model_card(own)
    assert "## Intended use" in text


def test_licence_base_and_data_are_in_the_header_and_the_paper_is_linked():
    said = replace(
        SAID,
        license="other",
        license_name="mine-1.0",
        license_link="https://example.org/l",
        license_statements=("A says this.", "B says that."),
        base_model="org/base",
        datasets=("org/a", "org/b"),
    )
    text = model_card(ModelConfig(), said)
    header = text.split("---\n")[1]
    for line in (
        *("license: other", "license_name: mine-1.0", "license_link: https://example.org/l"),
        *("base_model: org/base", "datasets:\n- org/a\n- org/b", "metrics:\n- dice"),
    ):
        assert f"{line}\n" in header
    assert "https://arxiv.org/abs/2211.06894" in text
    assert read_card(text) == said
