"""Learning from partially labeled data for multi-organ and tumor segmentation, as a package.

The paper (arXiv 2211.06894) as a map:

=================================  ==============================================================
Table 1, the seven tasks of MOTS   ``tasks``
Sec. 3.2, Eq. 4, CNN encoder       ``model.encoder``, built of ``model.blocks``
Eq. 5, 7 to 12, Transformer        ``model.position``, ``model.deformable_attention``,
                                   ``model.transformer_encoder``
Eq. 6, Fig. 6, CNN decoder         ``model.decoder``
Fig. 5, what transfers             ``model.backbone``
Eq. 13, organ decoder              ``model.organ_decoder``
Eq. 14, Fig. 3, kernel generation  ``model.kernel_generator``
Eq. 15, dynamic head               ``model.dynamic_head``
Fig. 2 and 4, the methods          ``methods``
Eq. 16, loss on partial labels     ``losses.dice_bce``
Sec. 3.7, 4.5, downstream tasks    ``adaptation.segmenter``, ``training.finetune``
Sec. 4.1, preprocessing            ``config.Preprocessing``, the contract of a model's input
Sec. 4.1, training, testing        ``training``, ``inference``, ``evaluation``
=================================  ==============================================================

``data`` reads real collections, ``phantom`` draws synthetic ones, ``weights`` finds and stores
models, ``report`` draws pictures, ``cli`` is the command ``mots``.

Example:
    >>> import mots_pretrained as mots
    >>> net = mots.load("transdodnet.phantom")
    >>> prediction = mots.Predictor(net)("ct.nii.gz")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mots_pretrained.adaptation.segmenter import Segmenter
    from mots_pretrained.config import ModelConfig, Preprocessing
    from mots_pretrained.images.volume import Volume
    from mots_pretrained.inference.predictor import Predictor
    from mots_pretrained.methods.dodnet import DoDNet
    from mots_pretrained.methods.transdodnet import TransDoDNet
    from mots_pretrained.model.backbone import MOTSBackbone
    from mots_pretrained.networks import build, create_model, get_preprocessing, load
    from mots_pretrained.tasks import BCV_ORGANS, MOTS_TASKS, Task
    from mots_pretrained.training.add_organs import add_organs
    from mots_pretrained.weights.catalog import list_models

__version__ = "0.2.0"

__all__ = [
    "BCV_ORGANS",
    "MOTS_TASKS",
    "DoDNet",
    "MOTSBackbone",
    "ModelConfig",
    "Predictor",
    "Preprocessing",
    "Segmenter",
    "Task",
    "TransDoDNet",
    "Volume",
    "add_organs",
    "build",
    "create_model",
    "get_preprocessing",
    "list_models",
    "load",
]

_HOMES = {
    "BCV_ORGANS": "tasks",
    "MOTS_TASKS": "tasks",
    "DoDNet": "methods.dodnet",
    "MOTSBackbone": "model.backbone",
    "ModelConfig": "config",
    "Predictor": "inference.predictor",
    "Preprocessing": "config",
    "Segmenter": "adaptation.segmenter",
    "Task": "tasks",
    "TransDoDNet": "methods.transdodnet",
    "Volume": "images.volume",
    "add_organs": "training.add_organs",
    "build": "networks",
    "create_model": "networks",
    "get_preprocessing": "networks",
    "list_models": "weights.catalog",
    "load": "networks",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that importing the package costs no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
