"""Inference: from a scan and any callable network to a label map on the scan's own grid."""

from mots_pretrained.inference.prediction import Prediction
from mots_pretrained.inference.predictor import Predictor
from mots_pretrained.inference.sliding_window import PUBLISHED, sliding_window

__all__ = ["PUBLISHED", "Prediction", "Predictor", "sliding_window"]
