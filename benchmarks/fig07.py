"""Fig. 7: where the last Transformer encoder layer samples, on a slice, level by level.

    python benchmarks/fig07.py -o fig07.png
    python benchmarks/fig07.py -m transdodnet.phantom -i ct.nii.gz -o fig07.png

Of a phantom the queries are the voxels nearest to the middle of three organs, of a scan the one in
the middle of the window.
"""

import argparse

import numpy as np
import torch

from mots_pretrained import TransDoDNet
from mots_pretrained.images.preprocess import preprocess
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import Volume
from mots_pretrained.phantom import task_target, torso
from mots_pretrained.report.sampling_points import SampledQuery, draw_sampling_points

ORGANS = ("liver", "spleen", "kidney")


def main() -> None:
    arguments = _arguments()
    net = TransDoDNet.from_pretrained(arguments.model)
    contract = net.config.preprocessing
    if arguments.input:
        volume, middles = read_volume(arguments.input), {}
    else:
        phantom = torso(arguments.seed, domain="spleen", spacing=contract.spacing)
        volume = Volume.with_spacing(np.rint(phantom.image), contract.spacing)
        middles = {name: middle(task_target(phantom.labels, name)[0]) for name in ORGANS}
    image = preprocess(volume, contract)
    start = _start(image.shape[1:], contract.window, list(middles.values()))
    window = np.full((len(image), *contract.window), -1.0, np.float32)
    part = image[:, *(slice(s, s + n) for s, n in zip(start, contract.window, strict=True))]
    window[:, *(slice(0, n) for n in part.shape[1:])] = part
    inside = {
        name: (at - start + 0.5) / np.array(contract.window)
        for name, at in middles.items()
        if np.all(at >= start) and np.all(at < np.array(start) + contract.window)
    } or {"middle": np.full(3, 0.5)}
    draw_sampling_points(
        window[0],
        sampled_queries(net, torch.from_numpy(window)[None], inside),
        arguments.output,
        spacing=contract.spacing,
        title=f"Sampling points of the last Transformer encoder layer, {arguments.model}",
    )
    print(arguments.output)


@torch.no_grad()
def sampled_queries(
    net: TransDoDNet, image: torch.Tensor, at: dict[str, np.ndarray]
) -> list[SampledQuery]:
    """Return the queries of the finest level whose reference points lie nearest to points."""
    sampling = net.backbone.transformer.sampling(net.backbone.encoder(image))
    finest = int(np.prod(sampling.shapes[0]))
    queries = []
    for name, point in at.items():
        gaps = (sampling.reference[:finest] - torch.as_tensor(point)).square().sum(1)
        nearest = int(gaps.argmin())
        parts = (
            x[nearest] for x in (sampling.reference, sampling.locations[0], sampling.weights[0])
        )
        queries.append(SampledQuery(name, *(part.numpy() for part in parts)))
    return queries


def middle(mask: np.ndarray) -> np.ndarray:
    """Return the voxel of a mask that lies nearest to its centre of mass."""
    voxels = np.argwhere(mask)
    return voxels[np.abs(voxels - voxels.mean(axis=0)).sum(axis=1).argmin()]


def _start(size: tuple[int, ...], window: tuple[int, ...], points: list[np.ndarray]) -> np.ndarray:
    """Place a window around points, or in the middle; it stays within the scan where it can."""
    centre = np.mean(points, axis=0) if points else np.array(size) / 2
    last = np.maximum(0, np.array(size) - window)
    return np.clip(np.rint(centre - np.array(window) / 2).astype(int), 0, last)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fig. 7: sampling points on a CT slice")
    parser.add_argument("-m", "--model", default="transdodnet.phantom")
    parser.add_argument("-i", "--input", help="a CT; a phantom by default")
    parser.add_argument("-o", "--output", default="fig07.png")
    parser.add_argument("--seed", type=int, default=0, help="of the phantom")
    return parser.parse_args()


if __name__ == "__main__":
    main()
