"""What a random training patch costs: from a prepared case, a memory map, a compressed NIfTI.

    python benchmarks/store.py

One synthetic scan of 200 x 512 x 512 voxels on the paper's grid (1.5 x 0.8 x 0.8 mm), with its
liver and tumour; patches of 64 x 192 x 192 anywhere in it, image and target, scaled. Each patch
opens its case anew, as a loader that meets a thousand cases does. Settings take turns in one
process; files lie in the page cache for all of them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from record import clocked, write
from scipy import ndimage

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.case import Case
from mots_pretrained.data.patches import extract
from mots_pretrained.data.stored_case import StoredCase, write_case
from mots_pretrained.images.preprocess import scale_hounsfield

SHAPE, PATCH = (200, 512, 512), (64, 192, 192)
CLIP = Preprocessing().clip
Start = tuple[int, int, int]


def scan(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A body in air with structure of some centimetres and a scanner's noise; its label map."""
    rng = np.random.default_rng(seed)
    coarse = rng.standard_normal([size // 16 + 1 for size in SHAPE]).astype(np.float32)
    tissue = ndimage.zoom(coarse, 16, order=1)[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    h, w = np.mgrid[: SHAPE[1], : SHAPE[2]]
    body = ((h - 256) / 150) ** 2 + ((w - 256) / 200) ** 2 < 1
    image = np.where(body, 40 + 60 * tissue, -1000).astype(np.float32)
    image += 15 * rng.standard_normal(SHAPE, dtype=np.float32)
    d, h, w = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    labels = np.zeros(SHAPE, np.uint8)
    for value, centre, radius in ((1, (120, 230, 180), 80), (2, (130, 210, 170), 20)):
        far = sum(((x - c) / radius) ** 2 for x, c in zip((d, h, w), centre, strict=True))
        labels[(far < 1) & body] = value
    return np.rint(image).astype(np.int16), labels


def settings(folder: Path) -> dict[str, tuple[list[Path], Callable[[], Case]]]:
    """Write the scan in each form; return its files and what opens it."""
    image, labels = scan()
    scaled = image.astype(np.float32)[None]
    scale_hounsfield(scaled[0], CLIP)
    target = np.stack([labels > 0, labels == 2]).astype(np.uint8)
    nifti = [folder / "image.nii.gz", folder / "label.nii.gz"]
    for path, array in zip(nifti, (image, labels), strict=True):
        nib.save(nib.Nifti1Image(array.T, np.diag([0.8, 0.8, 1.5, 1.0])), path)
    maps = [folder / "image.npy", folder / "target.npy"]
    for path, array in zip(maps, (scaled, target), strict=True):
        np.save(path, array)
    case = Case(scaled, target, (True, True), (0,))
    place = folder / "case"
    place.mkdir()
    step, classes = write_case(place, case)

    def compressed() -> Case:
        voxels = np.asarray(nib.load(nifti[0]).dataobj).T.astype(np.float32)[None]
        scale_hounsfield(voxels[0], CLIP)
        values = np.asarray(nib.load(nifti[1]).dataobj).T
        return Case(voxels, np.stack([values > 0, values == 2]).astype(np.uint8))

    def mapped() -> Case:
        return Case(*(np.load(path, mmap_mode="r") for path in maps))

    def stored() -> Case:
        return StoredCase.at(
            place,
            name="scan",
            channels=1,
            shape=SHAPE,
            labelled=(True, True),
            tasks=(0,),
            step=step,
            classes=classes,
        )

    return {
        "compressed NIfTI, read whole": (nifti, compressed),
        "memory map, float32": (maps, mapped),
        "blosc2 store": (sorted(place.iterdir()), stored),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--patches", type=int, default=24, help="a round, of the quick settings")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    starts: list[Start] = [
        tuple(int(rng.integers(0, n - p + 1)) for n, p in zip(SHAPE, PATCH, strict=True))
        for _ in range(options.patches)
    ]
    with tempfile.TemporaryDirectory() as place:
        forms = settings(Path(place))
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in forms}
        counts = {name: 2 if "NIfTI" in name else options.patches for name in forms}
        for _ in range(options.rounds):
            for name, (_, opened) in forms.items():
                chosen = starts[: counts[name]]
                run = clocked(lambda o=opened, c=chosen: [extract(o(), s, PATCH) for s in c])
                runs[name].append({key: value / len(chosen) for key, value in run.items()})
        sizes = {
            name: sum(path.stat().st_size for path in files) / 1e6
            for name, (files, _) in forms.items()
        }
    rows: list[dict[str, object]] = []
    for name, found in runs.items():
        wall, cpu = (min(run[key] for run in found) for key in ("wall_seconds", "cpu_seconds"))
        values = {
            "patches_per_second": 1 / wall,
            "patches_per_cpu_second": 1 / cpu,
            "megabytes": sizes[name],
        }
        for metric, value in values.items():
            rows.append(
                {
                    "table": "loader throughput",
                    "row": "64x192x192 of 200x512x512, one process",
                    "setting": name,
                    "metric": metric,
                    "value": round(value, 3),
                    "steps": options.rounds * counts[name],
                }
            )
        print(f"{name:30}", {key: round(value, 2) for key, value in values.items()}, flush=True)
    print(write("store", rows))


if __name__ == "__main__":
    main()
