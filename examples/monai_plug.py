"""The pretrained encoder and Transformer under a decoder of MONAI's blocks (UNETR's).

python examples/monai_plug.py      (needs monai)
"""

import itertools

import torch
from monai.losses import DiceCELoss
from monai.networks.blocks import UnetOutBlock, UnetrBasicBlock, UnetrUpBlock
from torch import Tensor, nn

import mots_pretrained as mots


class PretrainedUNETR(nn.Module):
    """MONAI's UNETR decoder on the five maps of the backbone; the memory joins the deepest."""

    def __init__(self, name: str, out_channels: int) -> None:
        super().__init__()
        self.backbone = mots.MOTSBackbone.from_pretrained(name)
        with torch.inference_mode():
            found = self.backbone.forward_features(torch.zeros(1, 1, 32, 64, 64))
        widths = [level.shape[1] for level in found.pyramid]
        block = {"spatial_dims": 3, "kernel_size": 3, "norm_name": "instance", "res_block": True}
        deepest = widths[-1] + found.memory[-1].shape[1]
        self.join = UnetrBasicBlock(3, deepest, widths[-1], 3, 1, "instance", True)
        self.up = nn.ModuleList(
            UnetrUpBlock(in_channels=deep, out_channels=shallow, upsample_kernel_size=2, **block)
            for deep, shallow in itertools.pairwise(reversed(widths))
        )
        self.out = UnetOutBlock(3, widths[0], out_channels)

    def forward(self, image: Tensor) -> Tensor:
        features = self.backbone.forward_features(image)
        x = self.join(torch.cat([features.pyramid[-1], features.memory[-1]], dim=1))
        for up, skip in zip(self.up, features.pyramid[-2::-1], strict=True):
            x = up(x, skip)
        return self.backbone.upsample(self.out(x))  # the stem halves the plane


def main() -> tuple[int, ...]:
    torch.manual_seed(0)
    net = PretrainedUNETR("transdodnet.phantom", out_channels=14)
    image = torch.randn(1, 1, 32, 64, 64)
    label = torch.randint(14, (1, 1, 32, 64, 64))
    logits = net(image)
    loss = DiceCELoss(to_onehot_y=True, softmax=True)(logits, label)
    loss.backward()
    print(f"logits {tuple(logits.shape)}, loss {loss.item():.3f}")
    learning = sum(p.grad is not None for p in net.backbone.encoder.parameters())
    print(f"gradients reach {learning} tensors of the pretrained encoder")
    return tuple(logits.shape)


if __name__ == "__main__":
    main()
