"""Cards read back and renewed: nothing that one says is lost, and nothing false stays."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from described_model import SAID

from mots_pretrained.config import ModelConfig
from mots_pretrained.weights.card import THRESHOLDS, Description, model_card, renamed
from mots_pretrained.weights.card_renewal import check_card, read_card, read_scores, renewed_card
from mots_pretrained.weights.catalog import CATALOG
from mots_pretrained.weights.checkpoint import load_config
from mots_pretrained.weights.download import shipped_folder
from mots_pretrained.weights.provenance import TrainingScans

PLAIN = ModelConfig()
SHIPPED = [name for name, entry in CATALOG.items() if entry.shipped]


def renewed(own: str | None, said: Description, config: ModelConfig = PLAIN, **given: str) -> str:
    return renewed_card(own, config, said, **{"name": "mine", "told": "", "seen": "", **given})


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("license: [mit", "not valid"),
        ("tags: [a]", "names no license"),
        ("license: mit\nmodel-index:\n- name: a\n  results: [{task: {}}]", "not valid"),
    ],
)
def test_a_header_that_the_hub_would_refuse_is_refused_before(header, told):
    check_card(model_card(PLAIN, Description(name="a: b", scores={"liver": 0.5})))
    with pytest.raises(ValueError, match=told):
        check_card(f"---\n{header}\n---\n# A model\n")


@pytest.mark.parametrize(
    "said", [Description(license="mit"), Description("", "New.", license="mit")]
)
def test_with_another_licence_goes_what_was_said_of_the_old_one(said):
    stated = replace(
        SAID, license="other", license_name="mine-1.0", license_statements=("A.",), base_model="o/b"
    )
    found = read_card(renewed(model_card(PLAIN, stated), said))
    assert (found.license, found.license_name, found.license_statements) == ("mit", "", ())
    assert found.base_model == "o/b"


@pytest.mark.parametrize("said", [Description(), Description(summary="New words.")])
def test_the_weights_begun_from_are_named_unless_the_card_names_others(said):
    own = model_card(PLAIN, SAID)
    found = renewed(own, said, base_model="org/base")
    assert read_card(found).base_model == "org/base"
    again = renewed(found, said, base_model="org/other")
    assert read_card(again).base_model == "org/base"


def test_what_a_card_says_is_read_back():
    assert read_card(model_card(PLAIN, SAID)) == SAID
    assert read_card(model_card(PLAIN)) == Description(
        "model", "A transdodnet network stored by mots_pretrained.", license="unknown"
    )


def test_a_card_keeps_what_nothing_new_is_said_of():
    own = model_card(PLAIN, SAID, seen="3 training scans of LiTS.")
    assert renewed(own, Description(), told="told", seen="3 training scans of LiTS.") == own
    found = read_card(renewed(own, Description(scores={"spleen": 0.75}, dataset="one scan")))
    assert found == replace(SAID, scores={"spleen": 0.75}, dataset="one scan")


@pytest.mark.parametrize("said", [Description(), Description(summary="New words.")])
def test_a_licence_stays_unless_another_is_given(said):
    """Fault 22: converted weights of others became Apache by being published."""
    own = model_card(PLAIN, Description(license="other"))
    assert read_card(renewed(own, said)).license == "other"
    assert read_card(renewed(own, replace(said, license="mit"))).license == "mit"
    assert read_card(renewed(None, said)).license == "unknown"


@pytest.mark.parametrize("scores", [{}, {"liver": 0.5}])
def test_a_title_that_somebody_wrote_stays_in_a_card_that_is_written_anew(scores):
    own = model_card(PLAIN, Description(name="mine", license="mit", scores=scores))
    own = own.replace("# mine", "# My own")
    for said in (Description(name="mine", summary="New."), Description(name="mine", title="1")):
        found = renewed(own, said)
        assert "\n# My own\n" in found
        assert found.count('mots.load("mine")') == 1
        assert (read_card(found).name, read_card(found).title) == ("mine", "My own")
    assert "\n# mine\n" in renewed(None, Description(name="mine"))


@pytest.mark.parametrize(
    ("old", "new"),
    [('("mine")', '("mine", device="cuda")'), ("  # or the path of this folder", "")],
)
def test_a_title_stays_where_somebody_changed_the_line_that_loads_the_network(old, new):
    own = model_card(PLAIN, Description(name="mine", license="mit", title="My own"))
    own = own.replace(old, new)
    assert renamed(own, "org/n") == own
    with pytest.warns(UserWarning, match=r"such as 'network = mots\.load\("):
        found = renewed(own, Description(name="mine", summary="New."))
    said = Description(name="mine", summary="New.", license="mit", title="My own")
    assert found == model_card(PLAIN, said)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("## Limits\n", "## Ethics\n\nAsk first.\n\n## Limits\n", "'## Ethics'"),
        ("under a head of one's own", "not for dogs", "not for dogs"),
        ("- 3d\n", "- 3d\n- mine\n", "tags: .*mine"),
        ("base_model: org/base\n", "base_model: [org/base, org/b]\n", "base_model: .*org/b"),
    ],
)
def test_what_is_left_out_of_a_card_that_is_written_anew_is_told(old, new, told):
    own = model_card(PLAIN, replace(SAID, base_model="org/base"), seen="1 training scan.")
    renewed(own, Description(summary="New words."))  # with no warning
    mine = own.replace(old, new)
    assert mine != own
    with pytest.warns(UserWarning, match=f"without what somebody wrote into it, such as .*{told}"):
        renewed(mine, Description(summary="New words."))
    assert new.split("\n")[0] in renewed(mine, Description(license="mit"))  # not written anew


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_is_told_to_be_left_out_of_a_card_that_is_shipped(name):
    """Three have the paper's line of an earlier version, which said what it is without a link."""
    folder = shipped_folder(name)
    own = renamed((folder / "README.md").read_text(), "org/mine")
    found = renewed(own, Description("org/mine", "New words."), load_config(folder))
    assert replace(read_card(found), summary="") == replace(read_card(own), summary="")


def test_nor_of_one_whose_header_or_scores_are_written_otherwise():
    said = Description(name="a", license="mit", scores={"liver": 0.5}, datasets=("org/x",))
    own = model_card(PLAIN, said)
    for old, new in (("datasets:\n- org/x\n", "datasets: org/x\n"),
                     ("\n## Scores\n", "\n## Scores (not recorded)\n")):  # fmt: skip
        assert old in own
        own = own.replace(old, new)
    found = renewed(own, Description(summary="New words."))
    assert found == model_card(PLAIN, replace(said, summary="New words."))


def test_what_was_not_recorded_is_filled_in_and_seen_scans_are_the_true_ones():
    own = model_card(PLAIN).replace("# model", "# My own words")
    found = renewed(own, Description(), told="By hand.", seen="2 training scans of a.")
    assert "## Training\n\nBy hand.\n\nSeen in training: 2 training scans of a.\n" in found
    assert "# My own words" in found
    assert "Seen in training: not recorded." in renewed(found, Description())


def test_what_somebody_wrote_of_the_scans_seen_stays_or_is_told_to_be_left_out():
    line = "Seen in training: 120 CT of our hospital."
    own = model_card(PLAIN).replace("Seen in training: not recorded.", line)
    assert line in renewed(own, Description(), seen="2 training scans of a.")
    with pytest.warns(UserWarning, match="written anew without .* such as 'Seen in training: 120"):
        renewed(own, Description(summary="New words."), seen="2 training scans of a.")


def test_every_statement_on_the_scans_seen_is_known_for_ours():
    new = model_card(PLAIN, seen="9 training scans.")
    for scans in {}, {"0": "a"}, {"0": "liver/a", "1": "b"}:
        for complete in (True, False):
            own = model_card(PLAIN, seen=TrainingScans(scans, complete).statement)
            assert renewed(own, Description(), seen="9 training scans.") == new


def test_thresholds_are_told_and_renewed():
    config = ModelConfig(thresholds={"spleen": 0.4, "kidney_tumour": 0.75})
    card = model_card(config, Description(name="mine", license="mit"))
    line = f"{THRESHOLDS}spleen 0.4, kidney_tumour 0.75; else 0.5."
    assert line in card.splitlines()
    found = renewed(card, Description(), ModelConfig(thresholds={"liver": 0.6}))
    assert found == card.replace(line, f"{THRESHOLDS}liver 0.6; else 0.5.")
    plain = renewed(card, Description())
    assert plain == model_card(PLAIN, Description(name="mine", license="mit"))
    assert renewed(plain, Description(), config) == card


def test_scores_are_those_of_evaluate(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text('{"mean_dice": 0.5, "dice": {"liver": 0.25, "spleen": null, "lung": 1}}')
    assert read_scores(path) == Description(scores={"liver": 0.25, "lung": 1.0})


@pytest.mark.parametrize(
    "text", ["", "[]", '{"dice": 1}', '{"dice": {}}', '{"dice": {"a": 1.5}}', '{"dice": {"a": []}}']
)
def test_what_holds_no_scores_is_told(tmp_path, text):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(ValueError, match=r"s\.json holds no scores; give the output of"):
        read_scores(tmp_path / "s.json")


def test_false_volumes_stand_beside_dice_and_go_with_it():
    said = Description(
        name="mine",
        license="mit",
        scores={"liver": 0.95, "spleen": 0.9},
        dataset="7 phantoms",
        absent={"spleen": (0.75, 0.0), "colon_tumour": (0.5, 1.25)},
    )
    card = model_card(PLAIN, said)
    assert [line for line in card.splitlines() if line.startswith("| ")] == [
        "| category | Dice | clean without it | false ml |",
        "| liver | 0.950 | - | - |",
        "| spleen | 0.900 | 0.75 | 0.00 |",
        "| colon_tumour | - | 0.50 | 1.25 |",
    ]
    assert read_card(card).absent == said.absent
    assert renewed(card, Description(summary="Better.")).count("1.25")
    assert read_card(renewed(card, Description(scores={"liver": 0.96}))).absent == {}


def test_scores_are_read_with_what_was_found_falsely(tmp_path):
    values = {
        "dice": {"liver": 0.95, "spleen": None},
        "clean_share": {"liver": None, "spleen": 0.5},
        "false_volume_ml": {"liver": None, "spleen": 2.5},
    }
    (tmp_path / "a.json").write_text(json.dumps(values))
    assert read_scores(tmp_path / "a.json") == Description(
        scores={"liver": 0.95}, absent={"spleen": (0.5, 2.5)}
    )
    (tmp_path / "a.json").write_text(json.dumps({**values, "clean_share": {"spleen": 2.0}}))
    with pytest.raises(ValueError, match="holds no scores"):
        read_scores(tmp_path / "a.json")
