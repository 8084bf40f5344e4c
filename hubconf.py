"""For ``torch.hub.load("PATH/mots_pretrained", "backbone", source="local")``."""

from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.networks import load

dependencies = ["torch", "numpy", "safetensors", "huggingface_hub"]


def network(name="transdodnet.phantom"):
    """Load whatever network a catalogue name, folder or Hub repository holds."""
    return load(name)


def backbone(name="transdodnet.phantom"):
    """Load the pretrained encoder, Transformer and decoder alone."""
    return MOTSBackbone.from_pretrained(name)


def segmenter(name="transdodnet.phantom", out_channels=2):
    """Put a new head on the pretrained backbone."""
    return Segmenter.from_pretrained(name, out_channels)
