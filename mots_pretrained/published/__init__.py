"""All that is only the authors': names, arguments, configurations, the 2021 network, conversion."""

from mots_pretrained.published.convert import convert, inspect, to_published
from mots_pretrained.published.unwrap import read_checkpoint, unwrap

__all__ = ["convert", "inspect", "read_checkpoint", "to_published", "unwrap"]
