"""A data set as a user writes one; in a module of its own, which worker processes import."""

from __future__ import annotations

from pathlib import Path

import torch

import mots_pretrained as mots


class ScanSet(torch.utils.data.Dataset):
    """Finest map of a corner of each scan; network and preprocessing travel to the workers."""

    def __init__(self, paths: list[Path], net: torch.nn.Module) -> None:
        self.paths, self.net, self.prepare = paths, net, mots.get_preprocessing(net)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        if index >= len(self):
            raise IndexError(index)
        with torch.no_grad():
            return self.net(self.prepare(self.paths[index])[None, :, :16, :32, :64])[0].clone()
