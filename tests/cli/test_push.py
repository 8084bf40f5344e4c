from __future__ import annotations

import json

import pytest
from huggingface_hub import ModelCard
from small_networks import small

from mots_pretrained.cli import DONE, WRONG_INPUT, main
from mots_pretrained.networks import build
from mots_pretrained.publishing import verify
from mots_pretrained.weights.addition import Addition
from mots_pretrained.weights.card import Description, model_card
from mots_pretrained.weights.checkpoint import load_config, save_folder
from mots_pretrained.weights.provenance import (
    TrainingScans,
    read_training_scans,
    write_training_scans,
)


def test_the_folder_that_is_pushed_is_whole(tmp_path, capsys):
    run, output = tmp_path / "run", tmp_path / "net"
    network = build(small())
    record = {"data": "phantoms", "settings": {"steps": 3}, "steps_done": 3, "seconds": 60}
    extra = {"training.json": json.dumps(record), "checkpoint.pt": "large"}
    save_folder(run, network.config, network.state_dict(), extra=extra)
    scores = tmp_path / "scores.json"
    scores.write_text('{"mean_dice": 0.5, "dice": {"liver": 0.5, "spleen": null}}')
    words = ["push", str(run), "-o", str(output), "--scores", str(scores), "--dataset", "2: two"]
    assert main(words) == DONE
    assert {path.name for path in output.iterdir()} == {
        *("config.json", "model.safetensors", "README.md", "fingerprint.json"),
        "training.json",
    }
    card = ModelCard.load(output / "README.md")
    (result,) = card.data.eval_results
    assert (result.metric_name, result.metric_value) == ("Dice, liver", 0.5)
    assert result.dataset_name == "2: two"
    assert "Trained from random weights on phantoms. 3 steps in 1 min." in card.text
    assert verify(output).sound
    # Without anything new to say the card stays, and half precision has a fingerprint of its own.
    (output / "README.md").write_text(card.content.replace("# net", "# My own"))
    assert main(["push", str(output), "-o", str(tmp_path / "half"), "--half"]) == DONE
    assert "# My own" in (tmp_path / "half" / "README.md").read_text()
    assert verify(tmp_path / "half").sound
    capsys.readouterr()


ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def run(tmp_path):
    """A fine-tuning's folder, with names of cases in every file that may have them."""
    network = build(small("segmenter"))
    folder = save_folder(tmp_path / "run", network.config, network.state_dict())
    record = {
        "from": str(tmp_path / "DOE_folder"),
        "classes": {"organ": [1]},
        "train": ["DOE_JANE_1970", "b", "c"],
        "validation": ["DOE_JIM"],
        "data": "3 cases of DOE_folder",
        "recipe": {"start": "/home/DOE/x", "validation": ["DOE_JIM"], "rate": 0.001},
        "identity": {"cases": "DOE"},
        "steps_done": 7,
        "seconds": 120,
        "device": "cpu",
        "scores": {"mean_dice": 0.5, "cases": {"DOE_JIM": {"organ": 0.5}}},
    }
    (folder / "training.json").write_text(json.dumps(record))
    (folder / "cases.json").write_text('{"train": ["DOE_JANE_1970"]}')
    write_training_scans(folder, {ONE: "own/DOE_JANE_1970"})
    return folder


def test_names_of_cases_are_not_sent_unasked(run, tmp_path, capsys):
    """Case 14: training.json with the names of all files was sent along."""
    output = tmp_path / "out"
    assert main(["push", str(run), "-o", str(output)]) == DONE
    for path in output.iterdir():
        assert b"DOE" not in path.read_bytes(), path.name
    assert not (output / "cases.json").exists()
    record = json.loads((output / "training.json").read_text())
    assert (record["train"], record["validation"], record["recipe"]["rate"]) == (3, 1, 0.001)
    assert read_training_scans(output).scans == {ONE: ""}
    assert main(["push", str(run), "-o", str(tmp_path / "all"), "--with-case-names"]) == DONE
    assert (tmp_path / "all" / "cases.json").is_file()
    assert (tmp_path / "all" / "training.json").read_text() == (run / "training.json").read_text()
    assert read_training_scans(tmp_path / "all").scans == {ONE: "own/DOE_JANE_1970"}
    assert main(["push", str(run), "-o", str(run)]) == WRONG_INPUT
    assert "would lose its names of cases" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--summary", "Organs"]])
def test_the_card_says_how_a_network_was_fine_tuned(words, run, tmp_path):
    """Case 14: it said "None steps in 0 minutes on None", or that no patient's data was seen."""
    output = tmp_path / "out"
    assert main(["push", str(run), "-o", str(output), *words]) == DONE
    card = (output / "README.md").read_text()
    told = card[card.index("## Training") : card.index("## Source")]
    assert (
        "Fine-tuned from weights in a folder on 3 cases, 1 held out. 7 steps in 2 min on cpu."
        in told
    )
    assert "Seen in training: 1 training scan." in told
    assert "None" not in card
    assert "no patient" not in card.lower()
    assert "no scan of anybody" not in card


def test_the_list_of_scans_is_added_to(run, tmp_path, monkeypatch):
    """Fault 2: it was replaced, by an empty one where training.json said phantoms."""
    (run / "training.json").write_text('{"data": "phantoms"}')
    assert main(["push", str(run), "-o", str(tmp_path / "a"), "--with-case-names"]) == DONE
    assert read_training_scans(tmp_path / "a").scans == {ONE: "own/DOE_JANE_1970"}
    monkeypatch.setattr("mots_pretrained.cli.push._scans", lambda prepared: {TWO: "LiTS/liver_1"})
    words = ["push", str(run), "-o", str(tmp_path / "b"), "--with-case-names", "--half"]
    assert main([*words, "--trained-on", "prepared"]) == DONE
    assert read_training_scans(tmp_path / "b") == TrainingScans(
        {ONE: "own/DOE_JANE_1970", TWO: "LiTS/liver_1"}
    )


def test_a_list_of_other_weights_is_not_published(run, tmp_path, capsys):
    """Fault 3: fine-tuned into a downloaded model's folder, its list said nothing was seen."""
    network = build(small("segmenter"))
    save_folder(run, network.config, network.state_dict())
    assert main(["push", str(run), "-o", str(tmp_path / "a")]) == WRONG_INPUT
    assert "not about the weights beside it" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("license", ["", "mit"])
def test_converted_weights_keep_their_licence(license, run, tmp_path):
    """Fault 22."""
    text = model_card(load_config(run), Description(license="other"))
    (run / "README.md").write_text(text)
    words = ["--license", license] if license else []
    assert main(["push", str(run), "-o", str(tmp_path / "a"), "--summary", "x", *words]) == DONE
    assert ModelCard.load(tmp_path / "a" / "README.md").data.license == (license or "other")


def test_what_is_missing_is_told(tmp_path, capsys):
    assert main(["push", str(tmp_path)]) == WRONG_INPUT
    assert "a Hub repository org/name, or -o FOLDER" in capsys.readouterr().err
    assert main(["push", str(tmp_path), "-o", str(tmp_path / "o")]) == WRONG_INPUT
    assert "has no config.json" in capsys.readouterr().err
    (tmp_path / "s.json").write_text('{"dice": {"liver": 80}}')
    assert main(["push", str(tmp_path), "org/n", "--scores", str(tmp_path / "s.json")]) == 2
    assert "holds no scores" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["-o", "kept"], ["--summary", "x"], ["--dataset", "x"], ["--datasets", "org/d"],
              ["--trained-on", "x"], ["--half"], ["--with-case-names"]],
)  # fmt: skip
def test_added_organs_take_no_options_of_whole_models(words, tmp_path, capsys):
    """They were dropped, and the push went through."""
    (tmp_path / "aorta.safetensors").touch()
    assert main(["push", str(tmp_path / "aorta.safetensors"), "org/aorta", *words]) == 2
    assert f"{words[0]} has no part in pushing added organs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("scans", "seen"),
    [
        (None, "not recorded."),
        ((ONE,), "1 scan, whose hashes the file holds, beside those of the network."),
        ((ONE, TWO), "2 scans, whose hashes the file holds, beside those of the network."),
    ],
)
def test_the_card_of_added_organs_says_what_they_were_learned_from(
    scans, seen, tmp_path, monkeypatch
):
    cards = []
    monkeypatch.setattr(
        "mots_pretrained.weights.upload.upload_organs",
        lambda path, repository, *, card, **options: cards.append(card) or "address",
    )
    added = Addition("organs", "a" * 64, {"classes": ["aorta"]}, {}, scans, ("ct",))
    path = added.save(tmp_path / "aorta.safetensors")
    assert main(["push", str(path), "org/aorta"]) == DONE
    assert f"\nSeen in training: {seen}\n" in cards[0]
