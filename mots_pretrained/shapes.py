"""Shapes as types: what stands in the signatures and is checked in the tests."""

from jaxtyping import Float
from torch import Tensor

Image = Float[Tensor, "batch channel depth height width"]
"""Network input: one channel of CT, or several of MRI, scaled as the contract says."""

Features = Float[Tensor, "batch feature depth height width"]
"""A feature map at any resolution."""

Sequence = Float[Tensor, "batch token feature"]
"""Flattened levels of the Transformer, coarsest last."""

Kernels = Float[Tensor, "batch task parameter"]
"""Generated kernels of the dynamic head, all weights first, then all biases (Eq. 14)."""

Logits = Float[Tensor, "batch task target depth height width"]
"""One binary logit a task and target; targets are (organ, tumour)."""
