from __future__ import annotations

import json

from huggingface_hub import ModelCard

from mots_pretrained.cli import DONE, WRONG_INPUT, main
from mots_pretrained.publishing import verify
from mots_pretrained.weights.checkpoint import save_folder


def test_the_folder_that_is_pushed_is_whole(tmp_path, capsys):
    from small_networks import small

    from mots_pretrained.networks import build

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
    assert "steps 3" in card.text
    assert verify(output).sound
    # Without anything new to say the card stays, and half precision has a fingerprint of its own.
    (output / "README.md").write_text(card.content.replace("# net", "# My own"))
    assert main(["push", str(output), "-o", str(tmp_path / "half"), "--half"]) == DONE
    assert "# My own" in (tmp_path / "half" / "README.md").read_text()
    assert verify(tmp_path / "half").sound
    capsys.readouterr()


def test_what_is_missing_is_told(tmp_path, capsys):
    assert main(["push", str(tmp_path)]) == WRONG_INPUT
    assert "a Hub repository org/name, or -o FOLDER" in capsys.readouterr().err
    assert main(["push", str(tmp_path), "-o", str(tmp_path / "o")]) == WRONG_INPUT
    assert "has no config.json" in capsys.readouterr().err
    (tmp_path / "s.json").write_text('{"dice": {"liver": 80}}')
    assert main(["push", str(tmp_path), "org/n", "--scores", str(tmp_path / "s.json")]) == 2
    assert "holds no scores" in capsys.readouterr().err
