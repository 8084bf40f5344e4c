"""Cross-entropy with unlabelled classes merged with the background (Shi et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor


def marginal_cross_entropy(logits: Tensor, classes: Tensor, labelled: Tensor) -> Tensor:
    """Compare one softmax over all classes with labels of some of them, voxel by voxel.

    With q the softmax of the logits and U the sample's unlabelled classes, the background's
    probability is ``q_0 + sum of q_c over U``, since what is no labelled class may be any of them
    ("Marginal loss and exclusion loss for partially supervised multi-organ segmentation"). So the
    loss pushes an unlabelled class down where a labelled one lies, and leaves its proportion to
    the background alone everywhere else. With all classes labelled it is plain cross-entropy.

    Args:
        logits: ``(B, 1 + C, ...)``, the background first.
        classes: ``(B, ...)`` int64, 0 to C; an unlabelled class counts as background.
        labelled: ``(B, C)`` bool, which classes of which sample are annotated.

    Returns:
        ``(B, ...)``, the negative logarithm of each voxel's probability.

    Example:
        >>> logits, classes = torch.zeros(1, 3, 1), torch.zeros(1, 1, dtype=torch.int64)
        >>> round(marginal_cross_entropy(logits, classes, torch.tensor([[True, False]])).item(), 4)
        0.4055
    """
    log_q = logits.log_softmax(1)
    whole = torch.cat([torch.zeros_like(labelled[:, :1]), labelled], dim=1)  # merged is class 0
    wide = whole.view(*whole.shape, *[1] * (logits.ndim - 2))
    merged = log_q.masked_fill(wide, -torch.inf).logsumexp(1)
    is_whole = whole.gather(1, classes.reshape(len(classes), -1)).view_as(classes)
    classes = torch.where(is_whole, classes, 0)
    return -torch.where(is_whole, log_q.gather(1, classes[:, None])[:, 0], merged)
