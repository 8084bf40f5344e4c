"""Array types with named axes for signatures, checked in the tests.

Names that begin with an underscore may differ between the tensors of one call.
"""

from jaxtyping import Float
from torch import Tensor

Image = Float[Tensor, "batch _channel depth height width"]
"""Network input: one channel of CT, or several of MRI, scaled as the contract says."""

Features = Float[Tensor, "batch _feature _depth _height _width"]
"""A feature map at any resolution."""

Tokens = Float[Tensor, "batch _token feature"]
"""Flattened levels of the Transformer, finest first, or embeddings of the tasks."""

Kernels = Float[Tensor, "batch _task _parameter"]
"""Generated kernels of the dynamic head, all weights first, then all biases (Eq. 14)."""

Logits = Float[Tensor, "batch _task _target depth height width"]
"""One binary logit a task and target at the image's resolution; targets are (organ, tumour)."""

TaskLogits = Float[Tensor, "batch _target depth height width"]
"""The logits of one task a sample, or of a segmenter's output channels."""

Size = tuple[int, int, int]
"""Voxels along (D, H, W)."""
