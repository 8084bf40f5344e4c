"""Where does the task enter? One file a method of Table 9, over one encoder-decoder."""

from mots_pretrained.methods.base import Method
from mots_pretrained.methods.dodnet import DoDNet
from mots_pretrained.methods.transdodnet import TransDoDNet

METHODS: dict[str, type[Method]] = {
    "dodnet": DoDNet,
    "transdodnet": TransDoDNet,
}
"""Method by the name that configurations and the command line use."""
