"""Evaluation: how well predicted masks fit the truth (Sec. 4.1)."""
