"""Frozen features of the pretrained backbone: maps for a decoder of one's own, a vector a scan.

    python examples/features.py

With real scans, replace the phantoms by ``preprocess(read_volume("ct.nii.gz"), contract)``.
"""

import torch

import mots_pretrained as mots
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.phantom import torso


def main() -> torch.Tensor:
    backbone = mots.MOTSBackbone.from_pretrained("transdodnet.phantom")
    contract = backbone.config.preprocessing

    embeddings = []
    for domain in ("liver", "spleen", "lung", "lung"):
        phantom = torso(len(embeddings), domain=domain, shape=(48, 96, 96), spacing=(4, 3, 3))
        scan = mots.Volume.with_spacing(phantom.image, contract.spacing)
        image = torch.from_numpy(preprocess(scan, contract))[None]  # (1, 1, 48, 96, 96)
        with torch.inference_mode():
            features = backbone.forward_features(image)
        embeddings.append(features.embedding[0])

    for i, level in enumerate(features.pyramid):
        print(f"pyramid {i}  {tuple(level.shape)}")
    for i, level in enumerate(features.memory):
        print(f"memory {i}   {tuple(level.shape)}")

    vectors = torch.stack(embeddings)
    likeness = torch.corrcoef(vectors - vectors.mean(dim=0))
    print("correlation of the embeddings of scans like LiTS, spleen, lung and lung:")
    print(likeness.numpy().round(2))
    return likeness


if __name__ == "__main__":
    main()
