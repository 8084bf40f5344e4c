"""Learning from partially labeled data for multi-organ and tumor segmentation, as a package."""

__version__ = "0.1.0"
