"""Model cards: a header that the Hub reads, and what a reader needs to know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mots_pretrained.config import ModelConfig, Preprocessing
from mots_pretrained.weights.card import THRESHOLDS, Description, model_card
from mots_pretrained.weights.card_renewal import check_card, read_card, renewed_card


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
    check_card(model_card(ModelConfig(), Description(name="a: b", scores={"liver": 0.5})))
    with pytest.raises(ValueError, match=told):
        check_card(f"---\n{header}\n---\n# A model\n")


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
    # Another licence: what was said of the old one goes.
    for other in (Description(license="mit"), Description(license="mit", summary="New.")):
        found = read_card(renewed(text, other))
        assert (found.license, found.license_name, found.license_statements) == ("mit", "", ())
        assert found.base_model == "org/base"


@pytest.mark.parametrize("said", [Description(), Description(summary="New words.")])
def test_the_weights_begun_from_are_named_unless_the_card_names_others(said):
    own = model_card(ModelConfig(), SAID)
    given = {"name": "m", "told": "", "seen": "", "base_model": "org/base"}
    found = renewed_card(own, ModelConfig(), said, **given)
    assert read_card(found).base_model == "org/base"
    again = renewed_card(found, ModelConfig(), said, **{**given, "base_model": "org/other"})
    assert read_card(again).base_model == "org/base"


SAID = Description(
    name="org/mine: 2",
    summary="A network\n\nof mine.",
    training="With care.\n\n```sh\nmots pretrain\n```",
    scores={"liver": 0.5, "tumor/edema": 0.25},
    dataset="two: scans",
    license="cc-by-4.0",
)


def test_what_a_card_says_is_read_back():
    assert read_card(model_card(ModelConfig(), SAID)) == SAID
    assert read_card(model_card(ModelConfig())) == Description(
        "model", "A transdodnet network stored by mots_pretrained.", license="unknown"
    )


def renewed(own: str | None, said: Description, told: str = "", seen: str = "") -> str:
    return renewed_card(own, ModelConfig(), said, name="mine", told=told, seen=seen)


def test_a_card_keeps_what_nothing_new_is_said_of():
    own = model_card(ModelConfig(), SAID, seen="3 training scans of LiTS.")
    assert renewed(own, Description(), told="told", seen="3 training scans of LiTS.") == own
    found = read_card(renewed(own, Description(scores={"spleen": 0.75}, dataset="one scan")))
    assert found == replace(SAID, scores={"spleen": 0.75}, dataset="one scan")


@pytest.mark.parametrize("said", [Description(), Description(summary="New words.")])
def test_a_licence_stays_unless_another_is_given(said):
    """Fault 22: converted weights of others became Apache by being published."""
    own = model_card(ModelConfig(), Description(license="other"))
    assert read_card(renewed(own, said)).license == "other"
    assert read_card(renewed(own, replace(said, license="mit"))).license == "mit"
    assert read_card(renewed(None, said)).license == "unknown"


def test_what_was_not_recorded_is_filled_in_and_seen_scans_are_the_true_ones():
    own = model_card(ModelConfig()).replace("# model", "# My own words")
    found = renewed(own, Description(), told="By hand.", seen="2 training scans of a.")
    assert "## Training\n\nBy hand.\n\nSeen in training: 2 training scans of a.\n" in found
    assert "# My own words" in found
    assert "Seen in training: not recorded." in renewed(found, Description())


def test_thresholds_are_told_and_renewed():
    config = ModelConfig(thresholds={"spleen": 0.4, "kidney_tumour": 0.75})
    card = model_card(config, Description(name="mine", license="mit"))
    line = f"{THRESHOLDS}spleen 0.4, kidney_tumour 0.75; else 0.5."
    assert line in card.splitlines()
    given = {"name": "mine", "told": "", "seen": ""}
    later = ModelConfig(thresholds={"liver": 0.6})
    renewed = renewed_card(card, later, Description(), **given)
    assert renewed == card.replace(line, f"{THRESHOLDS}liver 0.6; else 0.5.")
    plain = renewed_card(card, ModelConfig(), Description(), **given)
    assert plain == model_card(ModelConfig(), Description(name="mine", license="mit"))
    assert renewed_card(plain, config, Description(), **given) == card
