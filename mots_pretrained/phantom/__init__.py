"""Procedural phantoms: torso CTs and brain MRs with complete labels, for training and tests."""

from mots_pretrained.phantom.brain import BrainPhantom, brain
from mots_pretrained.phantom.labels import TORSO_LABELS, task_target
from mots_pretrained.phantom.paint_map import paint
from mots_pretrained.phantom.torso import Phantom, torso

VERSION = 3
"""Version of the generator: equal arguments give equal phantoms within one."""

__all__ = [
    "TORSO_LABELS",
    "VERSION",
    "BrainPhantom",
    "Phantom",
    "brain",
    "paint",
    "task_target",
    "torso",
]
