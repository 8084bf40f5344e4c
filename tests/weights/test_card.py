"""Model cards: a header that the Hub reads, and what a reader needs to know."""

from __future__ import annotations

import pytest

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.weights.card import check_card, model_card


def test_the_header_is_valid_card_data_with_its_scores():
    from huggingface_hub import ModelCardData
    from huggingface_hub.repocard import RepoCard

    text = model_card(
        ModelConfig(), name="a: b", scores={"liver": 0.91234}, dataset="14 phantoms: unseen"
    )
    data = RepoCard(text, ignore_metadata_errors=False).data.to_dict()
    card = ModelCardData(**data)
    assert card.license == "apache-2.0"
    assert card.library_name == "mots_pretrained"
    (result,) = card.eval_results
    assert result.dataset_name == "14 phantoms: unseen"
    assert result.metric_type == "dice"
    assert result.metric_name == "Dice, liver"
    assert result.metric_value == pytest.approx(0.9123)
    assert "model-index" not in model_card(ModelConfig())


def test_contract_and_labels_are_told():
    contract = Preprocessing(spacing=(3.0, 1.5, 1.5), patch=(32, 96, 96), clip=(-200, 300))
    text = model_card(ModelConfig(preprocessing=contract), training="200 steps on phantoms")
    assert "3 x 1.5 x 1.5 mm" in text
    assert "[-200, 300] HU" in text
    assert "32 x 96 x 96" in text
    assert "- colon: colon_tumour" in text
    assert "200 steps on phantoms" in text
    assert "no accuracy on patients is claimed" in text
    own = ModelConfig(architecture="segmenter", classes=("a", "b"), tasks=(), exclusive=False)
    assert "may overlap: a, b" in model_card(own)
    assert "## Intended use" in text


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("license: [mit", "not valid"),
        ("tags: [a]", "names no license"),
        ("license: mit\nmodel-index:\n- name: a\n  results: [{task: {}}]", "not valid"),
    ],
)
def test_a_header_that_the_hub_would_refuse_is_refused_before(header, told):
    check_card(model_card(ModelConfig(), name="a: b", scores={"liver": 0.5}))
    with pytest.raises(ValueError, match=told):
        check_card(f"---\n{header}\n---\n# A model\n")
