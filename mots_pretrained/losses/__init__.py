"""Losses: Dice and cross-entropy with partial labels (Sec. 3.6), and their downstream sibling."""

from mots_pretrained.losses.dice_bce import DiceBCE, dice_bce
from mots_pretrained.losses.segmentation import DiceCE, dice_ce

__all__ = ["DiceBCE", "DiceCE", "dice_bce", "dice_ce"]
