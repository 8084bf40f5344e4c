"""A network on real scans with labels: masks, label map, and false tumours in millilitres.

Scans and label maps are paired by name; names says which label values make up what, as
``{"liver": 5, "kidney": [2, 3]}``. Categories that the labels lack are not scored; of tumours that
they lack, the predicted volume is told. One scan proves nothing: say how many, and whose labels.

    python benchmarks/real_look.py -i SCANS --truth LABELS --names names.json
    python benchmarks/real_look.py -i ct.nii.gz --truth seg.nii.gz --names names.json --slab 36
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import numpy as np
from record import RESULTS

from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.files import case_key
from mots_pretrained.evaluation.metrics import dice
from mots_pretrained.evaluation.names import LabelNames, label_names
from mots_pretrained.evaluation.table import Line, machine, write_lines
from mots_pretrained.images.reading import read_labels, read_volume
from mots_pretrained.images.scan_files import list_volumes
from mots_pretrained.images.volume import Volume
from mots_pretrained.inference import Predictor
from mots_pretrained.networks import load
from mots_pretrained.weights.fingerprint import weights_sha256

COLUMNS = ("mask", "label map", "false ml in masks", "false ml in label map")


def main() -> None:
    arguments = _arguments()
    net = load(arguments.model)
    names = label_names(arguments.names)
    predictor = Predictor(net, overlap=arguments.overlap)
    weights = weights_sha256(net.state_dict())[:12]
    rows: dict[str, list[dict[str, float]]] = {}
    lines: list[Line] = []
    for scan, truth in pairs(Path(arguments.input), Path(arguments.truth)):
        volume, labels = read_volume(scan), read_labels(truth)
        if arguments.slab:
            volume, labels = slab(volume, labels, names, arguments.slab)
        for category, found in look(predictor, volume, labels.array, names).items():
            rows.setdefault(category, []).append(found)
            print(f"{volume.name:<30} {category:<24} " + "  ".join(
                f"{key} {value:.3f}" for key, value in found.items()))  # fmt: skip
            shared = {
                "table": "real look",
                "row": arguments.model,
                "setting": f"weights {weights}",
                "case": volume.name,
                "category": category,
                "machine": machine(),
            }
            lines += [{**shared, "metric": m, "value": repr(v)} for m, v in found.items()]
    print("\nmeans over scans")
    for category, found in rows.items():
        means = {key: fmean(one[key] for one in found) for key in found[0]}
        shown = "  ".join(f"{key} {value:.3f}" for key, value in means.items())
        print(f"{category:<24} {len(found)} scans  {shown}")
    if arguments.output:
        print(write_lines(Path(arguments.output), lines))


def pairs(scans: Path, truth: Path) -> Iterator[tuple[Path, Path]]:
    """Yield scans with the label maps of their names; two files are a pair whatever their names."""
    if scans.is_file():
        yield scans, truth
        return
    labels = {case_key(path): path for path in list_volumes(truth)}
    for scan in list_volumes(scans):
        if case_key(scan) not in labels:
            raise UserError(f"{scan} has no label map of its name in {truth}")
        yield scan, labels[case_key(scan)]


def slab(
    volume: Volume, labels: Volume, names: LabelNames, millimetres: float
) -> tuple[Volume, Volume]:
    """Cut planes out of a scan and its labels, around the middle of the first named class."""
    first = next(iter(names.classes))
    planes = np.flatnonzero(names.mask(labels.array, first).any(axis=(1, 2)))
    count = max(1, round(millimetres / volume.spacing[0]))
    start = max(0, int(planes.mean()) - count // 2)
    part = slice(start, start + count)
    return (
        Volume.with_spacing(volume.array[..., part, :, :], volume.spacing, name=volume.name),
        Volume.with_spacing(labels.array[part], labels.spacing, name=labels.name),
    )


def look(
    predictor: Predictor, volume: Volume, truth: np.ndarray, names: LabelNames
) -> dict[str, dict[str, float]]:
    """Return Dice of masks and of the label map where there is truth, else false volumes in ml."""
    prediction = predictor(volume)
    voxel = float(np.prod(prediction.spacing)) / 1000
    found: dict[str, dict[str, float]] = {}
    for name, values in prediction.label_values.items():
        mask, drawn = prediction.mask(name), np.isin(prediction.labels, values)
        if name in names.classes:
            true = names.mask(truth, name)
            scores = dice(mask, true), dice(drawn, true)
            if None not in scores:
                found[name] = dict(zip(COLUMNS[:2], map(float, scores), strict=True))  # type: ignore[arg-type]
        elif name.endswith("_tumour"):
            volumes = float(mask.sum()) * voxel, float(drawn.sum()) * voxel
            found[name] = dict(zip(COLUMNS[2:], volumes, strict=True))
    tumours = [one for name, one in found.items() if COLUMNS[2] in one]
    if tumours:
        found["all tumours"] = {key: sum(one[key] for one in tumours) for key in COLUMNS[2:]}
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-i", "--input", required=True, help="scan, or folder of scans")
    parser.add_argument("--truth", required=True, help="label map, or folder of label maps")
    parser.add_argument("--names", required=True, help="what the values mean: JSON file or word")
    parser.add_argument("-m", "--model", default="transdodnet.phantom")
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--slab", type=float, default=0.0, help="mm to cut out; 0: whole scans")
    parser.add_argument("-o", "--output", default="", help=f"CSV, such as {RESULTS.name}/look.csv")
    return parser.parse_args()


if __name__ == "__main__":
    main()
