"""Phantoms for tests that need the same one again: made once a process."""

from __future__ import annotations

import functools

from mots_pretrained.phantom import torso

torso_once = functools.cache(torso)
"""``torso``, whose arguments must be hashable; what it returns must not be changed."""
