"""How phantoms look beside real CT: noise and its correlation, kidneys and tissues by phase.

    python benchmarks/appearance.py --count 70 --randomise 0

Phantoms are drawn as pretraining with complete labels draws them, at 4x3x3 mm. Each row prints the
5, 25, 50, 75 and 95 % points of the phantoms beside those of 14 real CTs (6 native, 2 arterial, 6
portal or later) that were brought to the same spacing; where few were measured, their values.
"""

import argparse
import time
from collections import Counter, defaultdict

import numpy as np
from scipy import ndimage

from mots_pretrained.config import Preprocessing
from mots_pretrained.phantom import Phantom
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.lesions import TUMOURS
from mots_pretrained.phantom.tissues import PHASES
from mots_pretrained.tasks import MOTS_TASKS
from mots_pretrained.training.phantoms import TorsoSource

SPACING = (4.0, 3.0, 3.0)
REAL = {
    "liver sd": "4.4/6.7/11.0/12.0/13.2",
    "liver noise x": "3.2/4.0/5.4/9.9/12.0",
    "liver noise z": "2.6/3.0/6.0/8.2/9.6",
    "liver corr x": "0.04/0.12/0.22/0.44/0.50",
    "liver corr z": "0.18/0.37/0.46/0.62/0.70",
    "spleen noise x": "2.5/4.1/6.6/9.5/11.3",
    "muscle noise x": "3.4/4.3/5.7/9.7/11.9",
    "fat noise x": "2.9/4.4/5.5/8.0/11.5",
    "fat mean": "-109/-106/-101/-100/-91",
    "lung mean": "-886/-856/-831/-820/-770",
    "lung sd": "36/40/44/45/48",
    "muscle": "36/44/50/55/68",
    "marrow": "57/96/158/172/189",
    "native liver": "47 53 54 62 63 70",
    "native spleen": "35 38 43 50 52 57",
    "native liver - spleen": "10 11 12 13 13 15",
    "native kidney": "17 23 28 28 37 40",
    "native kidney sd": "5-17, one 25-35",
    "native kidney noise": "3.6-13",
    "native kidney structure": "1.8-5.4, three 9-11",
    "native kidney tumour - kidney": "",
    "arterial liver": "48 69",
    "arterial spleen": "50 170",
    "arterial aorta": "229 397",
    "arterial kidney": "75 180",
    "arterial slice sd": "16-22, 63-76",
    "arterial slice p90-p10": "33-45, 120-142",
    "arterial kidney tumour - kidney": "",
    "portal liver": "72 90 113 116 120 123",
    "portal spleen": "79 105 113 122 123 126",
    "portal liver - spleen": "-33 -9 -7 -3 7 11",
    "portal kidney": "146 178 192 205 222",
    "portal slice median": "144-236 (197)",
    "portal slice sd": "15-46 (28)",
    "portal slice p90-p10": "22-86 (47)",
    "portal slice dark share": "0-0.35 (0.08)",
    "portal slice dark spot cm2": "0-5.1 (0.4)",
    "portal aorta": "100 124 142 146 150 191",
    "portal vessel - liver": "41",
    "portal liver tumour - liver": "-48",
    "portal kidney tumour - kidney": "",
}
"""Rows and what real CTs have."""

Rows = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=70)
    parser.add_argument("--randomise", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--phase", choices=PHASES, help="of all; by default the domains' own")
    options = parser.parse_args()
    rows: Rows = defaultdict(list)
    tumours: Counter[int] = Counter()
    seconds = []
    contract = Preprocessing(spacing=SPACING)
    source = TorsoSource(contract, MOTS_TASKS, options.seed, options.randomise, "complete")
    for index in range(options.count):
        start = time.process_time()
        phantom = source.phantom(index, phase=options.phase)
        seconds.append(time.process_time() - start)
        measure(phantom, rows)
        tumours[sum((phantom.labels == LABEL[name]).any() for name in TUMOURS)] += 1
    print(f"{'':32}{'real':>28}   phantoms 5/25/50/75/95 (n)")
    for name, real in REAL.items():
        print(f"{name:32}{real:>28}   {points(rows[name])}")
    print("phantoms by number of kinds of tumour:", dict(sorted(tumours.items())))
    print(f"seconds a phantom: median {np.median(seconds):.2f}, most {max(seconds):.2f}")


def points(values: list[float]) -> str:
    """Return the 5, 25, 50, 75 and 95 % points, with as many digits as they need."""
    if not values:
        return "-"
    cuts = np.percentile(values, [5, 25, 50, 75, 95])
    digits = 0 if abs(cuts[2]) >= 20 else 1 if abs(cuts[2]) >= 1 else 2
    return "/".join(f"{cut:.{digits}f}" for cut in cuts) + f" ({len(values)})"


def measure(phantom: Phantom, rows: Rows) -> None:
    """Add one phantom's values to the rows."""
    image, labels = phantom.image, phantom.labels
    eroded = {
        name: ndimage.binary_erosion(labels == LABEL[name], border_value=0)
        for name in ("liver", "spleen", "muscle", "lung", "aorta", "right_kidney", "left_kidney")
    }
    inner = {name: mask for name, mask in eroded.items() if mask.sum() > 100}
    fat = ndimage.binary_erosion((labels == 0) & (abs(image + 100) < 60), iterations=2)
    for name, mask in (*inner.items(), ("fat", fat)):
        if mask.sum() > 100 and name in ("liver", "spleen", "muscle", "fat"):
            rows[f"{name} noise x"].append(noise(image, mask, 2))
    if fat.sum() > 100:
        rows["fat mean"].append(float(image[fat].mean()))
    level = {name: float(np.median(image[mask])) for name, mask in inner.items()}
    if "liver" in inner:
        _liver(image, inner["liver"], rows)
    if "lung" in inner:
        values = image[inner["lung"] & (image < -500)]
        rows["lung mean"].append(float(values.mean()))
        rows["lung sd"].append(float(values.std()))
    if "muscle" in level:
        rows["muscle"].append(level["muscle"])
    marrow = ndimage.binary_erosion(labels == LABEL["bone"], iterations=3)
    if marrow.sum() > 100:
        rows["marrow"].append(float(np.median(image[marrow])))
    phase = "portal" if phantom.phase == "delayed" else phantom.phase
    for name in ("liver", "spleen", "aorta"):
        if name in level:
            rows[f"{phase} {name}"].append(level[name])
    if {"liver", "spleen"} <= set(level):
        rows[f"{phase} liver - spleen"].append(level["liver"] - level["spleen"])
    for name, label in (("vessel", "hepatic_vessel"), ("liver tumour", "liver_tumour")):
        inside = labels == LABEL[label]
        if inside.sum() > 50 and "liver" in level:
            rows[f"{phase} {name} - liver"].append(np.median(image[inside]) - level["liver"])
    tumour = ndimage.binary_erosion(labels == LABEL["kidney_tumour"])
    for name in ("right_kidney", "left_kidney"):
        if name in inner:
            _kidney(image, labels == LABEL[name], inner[name], f"{phase} ", rows)
            if tumour.sum() > 50:
                difference = np.median(image[tumour]) - level[name]
                rows[f"{phase} kidney tumour - kidney"].append(difference)


def _liver(image: np.ndarray, mask: np.ndarray, rows: Rows) -> None:
    rows["liver sd"].append(float(image[mask].std()))
    rows["liver noise z"].append(noise(image, mask, 0))
    rest = image - smooth(image, mask, 16.0)
    for name, axis in (("x", 2), ("z", 0)):
        one, other = neighbours(rest, mask, axis)
        rows[f"liver corr {name}"].append(float(np.corrcoef(one, other)[0, 1]))


def _kidney(
    image: np.ndarray, whole: np.ndarray, inner: np.ndarray, phase: str, rows: Rows
) -> None:
    values = image[inner]
    rows[phase + "kidney"].append(float(np.median(values)))
    rows[phase + "kidney sd"].append(float(values.std()))
    both = [noise(image, inner, 1), noise(image, inner, 2)]
    rows[phase + "kidney noise"].append(float(np.mean(both)))
    structure = smooth(image, inner, 8.0 / 2.355)[inner].std()
    rows[phase + "kidney structure"].append(float(structure))
    pixel = SPACING[1] * SPACING[2]
    for plane, mask in zip(image, whole, strict=True):
        mask = ndimage.binary_erosion(mask)
        if mask.sum() * pixel < 600:
            continue
        soft = smooth(plane, mask, 6.0 / 2.355)
        shown = soft[mask]
        low, middle, upper, high = np.percentile(shown, [10, 50, 75, 90])
        dark = mask & (soft < upper - 40)
        spots, count = ndimage.label(dark)
        rows[phase + "slice median"].append(float(middle))
        rows[phase + "slice sd"].append(float(shown.std()))
        rows[phase + "slice p90-p10"].append(float(high - low))
        rows[phase + "slice dark share"].append(float(dark.sum() / mask.sum()))
        largest = max(np.bincount(spots[dark])) if count else 0
        rows[phase + "slice dark spot cm2"].append(float(largest * pixel / 100))


def neighbours(image: np.ndarray, mask: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of all pairs of neighbours along an axis that lie in a mask."""
    values, inside = np.moveaxis(image, axis, 0), np.moveaxis(mask, axis, 0)
    both = inside[1:] & inside[:-1]
    return values[1:][both], values[:-1][both]


def noise(image: np.ndarray, mask: np.ndarray, axis: int) -> float:
    """Return 1.48 MAD of the differences of neighbours over the square root of 2, in HU."""
    one, other = neighbours(image, mask, axis)
    apart = one - other
    return float(1.4826 * np.median(np.abs(apart - np.median(apart))) / np.sqrt(2))


def smooth(image: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth by a Gaussian of ``sigma`` millimetres within a mask."""
    width = sigma / np.array(SPACING[-image.ndim :])
    weight = ndimage.gaussian_filter(mask.astype(np.float32), width)
    inside = np.where(mask, image, 0).astype(np.float32)
    return ndimage.gaussian_filter(inside, width) / np.maximum(weight, 1e-3)


if __name__ == "__main__":
    main()
