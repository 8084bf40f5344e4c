"""A new organ by one query: a file of a few kilobytes, and the old tasks' outputs to the bit.

python examples/new_organ.py
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch

import mots_pretrained as mots
from mots_pretrained.data.case import make_case
from mots_pretrained.phantom import torso
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.training.new_organ import learn_task
from mots_pretrained.training.recipe import read_recipe


def main(steps: int = 30) -> tuple[float, float, int, bool]:
    net = mots.TransDoDNet.from_pretrained("transdodnet.phantom")
    contract = net.config.preprocessing
    cases = []
    for seed in range(2):
        phantom = torso(seed, domain="spleen", shape=(32, 64, 64), spacing=contract.spacing)
        scan = mots.Volume.with_spacing(phantom.image, contract.spacing)
        classes = {"aorta": (LABEL["aorta"],)}
        cases.append(make_case(scan, phantom.labels, contract, classes, exclusive=False))
    image = torch.from_numpy(cases[0].image)[None]
    with torch.inference_mode():
        before = net(image)

    extended = mots.add_task(net, "aorta", like="hepatic_vessel")
    recipe = replace(read_recipe("new_organ"), steps=steps, batch=1, patch=(32, 64, 64))
    log = learn_task(extended, cases, recipe)
    first, last = log[0].losses["total"], log[-1].losses["total"]
    print(f"loss {first:.3f} -> {last:.3f} in {steps} steps")

    with tempfile.TemporaryDirectory() as folder:
        path = extended.save_task("aorta", Path(folder) / "aorta.safetensors")
        size = path.stat().st_size
        print(f"{path.name} has {size} bytes; load_task puts it onto the same weights")
        again = mots.load_task(mots.TransDoDNet.from_pretrained("transdodnet.phantom"), path)

    with torch.inference_mode():
        logits = again(image)  # seven tasks, then the aorta
        same = torch.equal(logits[:, :7], before)
    print(f"the seven old tasks give what they gave, to the bit: {same}")
    print(f"values of the label map: {mots.Predictor(again).rule.values}; 12 is the aorta")
    return first, last, size, same


if __name__ == "__main__":
    main()
