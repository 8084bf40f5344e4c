"""A new organ beside the old ones: a small file, and the old tasks' outputs to the bit.

python examples/new_organ.py
"""

import tempfile
from pathlib import Path

import torch

import mots_pretrained as mots
from mots_pretrained.data.case import make_case
from mots_pretrained.phantom import torso
from mots_pretrained.phantom.labels import LABEL


def main(steps: int = 300) -> tuple[float, int, bool]:
    net = mots.load("transdodnet.phantom")
    contract = net.config.preprocessing
    cases = []
    for seed in range(2):
        phantom = torso(
            seed, domain="spleen", shape=(32, 64, 64), spacing=contract.spacing, focus="aorta"
        )
        scan = mots.Volume.with_spacing(phantom.image, contract.spacing)
        cases.append(make_case(scan, phantom.labels, contract, {"aorta": (LABEL["aorta"],)}))
    image = torch.from_numpy(cases[0].image)[None]
    with torch.inference_mode():
        before = net(image)

    extended = mots.add_organs(net, cases, classes=["aorta"], steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        path = extended.save_organs(Path(folder) / "aorta.safetensors")
        size = path.stat().st_size
        print(f"{path.name} has {size} bytes; others put it onto the same weights")
        again = mots.load("transdodnet.phantom", add=[path])

    with torch.inference_mode():
        logits = again(image)  # seven tasks, then the aorta
    same = torch.equal(logits[:, :7], before)
    found, truth = logits[0, 7, 0] > 0, torch.from_numpy(cases[0].target[0] == 1)
    dice = float(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    print(f"Dice {dice:.2f} on a phantom that it was fitted to")
    print(f"the seven old tasks give what they gave, to the bit: {same}")
    print(f"values of the label map: {mots.Predictor(again).rule.values}; 12 is the aorta")
    return dice, size, same


if __name__ == "__main__":
    main()
