r"""Fill hub/NAME from a training's folder, and pin it in the catalogue.

    python hub/prepare.py transdodnet.phantom RUN --scores scores.json \
        --dataset "14 unseen phantoms" --summary "..." --training notes.md

RUN is what ``mots pretrain -o RUN`` left, scores.json what ``mots evaluate --json`` printed.
Writes config.json, model.safetensors, README.md, fingerprint.json, training_scans.json,
training.json and log.csv, then checksum, size and scores to mots_pretrained/weights/shipped.json.
What is not given is kept as the card of RUN says it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mots_pretrained.files import write_json
from mots_pretrained.publishing import make_publishable
from mots_pretrained.weights.card import Description
from mots_pretrained.weights.card_renewal import read_scores
from mots_pretrained.weights.catalog import PINS
from mots_pretrained.weights.download import checksum

HUB = Path(__file__).parent


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="architecture.tag; an entry of catalog.py asks for it")
    parser.add_argument("run", type=Path, help="folder of the training, or hub/NAME itself")
    parser.add_argument("--scores", help="JSON of mots evaluate")
    parser.add_argument("--dataset", default="", help="what the scores were measured on")
    parser.add_argument("--summary", default="")
    parser.add_argument("--training", type=Path, help="markdown on the training")
    parser.add_argument("--half", action="store_true")
    options = parser.parse_args()

    pins = json.loads(PINS.read_text("utf-8"))
    before = pins.get(options.name, {})
    scores = read_scores(options.scores) if options.scores else before.get("scores", {})
    dataset = options.dataset or before.get("dataset", "")
    folder = HUB / options.name
    make_publishable(
        options.run,
        folder,
        said=Description(
            name=options.name,
            summary=options.summary,
            training=options.training.read_text("utf-8").strip() if options.training else "",
            scores=scores if options.scores else {},
            dataset=dataset if options.scores else "",
            license="apache-2.0",
        ),
        half=options.half,
        with_case_names=True,  # phantoms have none
    )
    weights = folder / "model.safetensors"
    pins[options.name] = {
        "sha256": checksum(weights),
        "megabytes": round(weights.stat().st_size / 1e6, 1),
        "dataset": dataset,
        "scores": {name: round(score, 3) for name, score in scores.items()},
    }
    write_json(PINS, pins)


if __name__ == "__main__":
    main()
