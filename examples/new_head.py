"""A new head on the pretrained backbone, fine-tuned on two labelled scans, stage by stage.

python examples/new_head.py
"""

import torch

import mots_pretrained as mots
from mots_pretrained.adaptation.freezing import freeze, parts
from mots_pretrained.adaptation.segmenter import drop_transformer
from mots_pretrained.data.case import make_case
from mots_pretrained.phantom import torso
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.training.finetune import finetune
from mots_pretrained.training.recipe import Recipe

ORGANS = {"aorta": (LABEL["aorta"],), "stomach": (LABEL["stomach"],)}


def main(steps: int = 30) -> list[float]:
    torch.manual_seed(0)
    model = mots.Segmenter.from_pretrained("transdodnet.phantom", classes=list(ORGANS))
    kept, new, dropped = (len(names) for names in model.surgery)  # names of tensors
    print(f"weights kept {kept}, made new {new}, dropped {dropped}: the head of seven tasks")
    print("parts:", ", ".join(parts(model)))

    contract = model.config.preprocessing
    cases = []
    for seed in range(2):
        phantom = torso(seed, domain="spleen", shape=(32, 64, 64), spacing=contract.spacing)
        scan = mots.Volume.with_spacing(phantom.image, contract.spacing)
        cases.append(make_case(scan, phantom.labels, contract, ORGANS))

    frozen = freeze(model, ["encoder", "transformer"])
    print(f"frozen {len(frozen)} of {len(list(model.parameters()))} tensors")
    history = finetune(model, cases, Recipe(steps=steps, batch=1, patch=(32, 64, 64)))
    losses = [row.losses["total"] for row in history.rows]
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f} in {steps} steps")

    plain = drop_transformer(model)
    print(f"a plain U-Net of the same weights drops {len(plain.surgery.dropped)} tensors")
    return losses


if __name__ == "__main__":
    main()
