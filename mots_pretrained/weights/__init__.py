"""Weights as files and dicts: the catalogue, where they come from, how they are stored."""
