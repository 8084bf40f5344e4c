"""A config.json with one entry replaced."""

from __future__ import annotations

import json
from typing import Any

from mots_pretrained.config import ModelConfig


def edited(path: str, value: Any) -> str:
    """The default config.json with one entry replaced; path parts are joined by dots."""
    values = json.loads(ModelConfig().to_json())
    *parents, last = path.split(".")
    place = values
    for part in parents:
        place = place[part]
    place[last] = value
    return json.dumps(values)
