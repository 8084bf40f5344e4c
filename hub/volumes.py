r"""Say in hub/NAME/config.json which volumes the categories had in the phantoms of its training.

    python hub/volumes.py transdodnet.phantom --count 210

The phantoms are those of the training: made by the same generator, with the seed, the randomisation
and the contract of hub/NAME/training.json and config.json, completely labelled; of the many that a
training sees, the first COUNT.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from mots_pretrained.config import ModelConfig
from mots_pretrained.data.seen_volumes import seen_volumes
from mots_pretrained.files import write_text
from mots_pretrained.training.phantoms import TorsoSource

HUB = Path(__file__).parent


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="folders of hub/ whose networks have tasks")
    parser.add_argument("--count", type=int, default=210, help="phantoms to measure")
    options = parser.parse_args()
    for name in options.names:
        path = HUB / name / "config.json"
        config = ModelConfig.from_json(path.read_text("utf-8"))
        told = json.loads((HUB / name / "training.json").read_text("utf-8"))
        settings = _flat(told["settings"])
        source = TorsoSource(
            config.preprocessing,
            config.tasks,
            seed=settings["seed"],
            randomise=settings["randomise"],
            labels="complete",
        )
        seen = seen_volumes(map(source, range(options.count)), config)
        write_text(path, dataclasses.replace(config, seen_volumes=seen).to_json())


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Return all settings in one dict, those of nested ones included."""
    flat = {}
    for name, value in settings.items():
        flat |= _flat(value) if isinstance(value, dict) else {name: value}
    return flat


if __name__ == "__main__":
    main()
