"""The polynomial decay lr = lr_init (1 - k/K)^0.9 (Sec. 4.1), with the published warm-up."""

from __future__ import annotations

import torch

from mots_pretrained.errors import UserError

POWER = 0.9  # Sec. 4.1
WARM_UP_START = 0.01  # published code: the first rate, as a share of the full one


class PolySchedule:
    """Sets an optimiser's rate from the number of the step alone, so it has no state to keep.

    Args:
        optimizer: Its groups' rates when this is made are the full ones; a group's ``lr_scale``
            (timm's layer-wise decay) is honoured.
        steps: K, all steps of the training, after which the rate is 0.
        steps_per_epoch: The rate changes once in so many steps. The paper counts k in epochs of
            460 steps (920 scans, batch 2) up to K = 1000; by default k is the step.
        warm_up: Epochs (steps, by default) of linear rise from 1 % of the rate. The published code
            has 10 epochs of it, the paper none.

    Raises:
        ValueError: If there are no steps, or no fewer warm-up epochs than epochs.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = torch.optim.AdamW([weight], lr=2e-4)
        >>> schedule = PolySchedule(optimizer, 1000)
        >>> f"{schedule.set(500):.3e}"
        '1.072e-04'
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        steps: int,
        *,
        steps_per_epoch: int = 1,
        warm_up: int = 0,
    ) -> None:
        from timm.scheduler import PolyLRScheduler

        if steps < 1 or steps_per_epoch < 1:
            raise UserError(f"training needs at least 1 step, not {steps}")
        epochs = -(-steps // steps_per_epoch)
        if not 0 <= warm_up < epochs:
            raise UserError(f"warm-up must be 0 to {epochs - 1} of {epochs} epochs, not {warm_up}")
        self.optimizer = optimizer
        self.steps_per_epoch = steps_per_epoch
        full = max(group["lr"] for group in optimizer.param_groups)
        self._schedule = PolyLRScheduler(
            optimizer,
            t_initial=epochs,
            power=POWER,
            warmup_t=warm_up,
            warmup_lr_init=WARM_UP_START * full,
            t_in_epochs=False,
        )

    def set(self, step: int) -> float:
        """Set the rate of step number ``step``, counted from 0, and return the first group's."""
        self._schedule.step_update(step // self.steps_per_epoch)
        return float(self.optimizer.param_groups[0]["lr"])
