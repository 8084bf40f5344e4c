r"""A network on real scans, or painted real label maps: masks, label map, and false tumours in ml.

Scans and label maps are paired by name; names says which label values make up what, as
``{"liver": 5, "kidney": [2, 3]}``. Categories that the labels lack are not scored; of tumours that
they lack, the predicted volume is told. One scan proves nothing: say how many, and whose labels.

With --paint there are no scans: each label map is painted with the phantoms' tissues and scanner,
once a seed. That tells shape from appearance: shapes are real, the appearance is the phantoms'.

    python benchmarks/real_look.py -i SCANS --truth LABELS --names names.json
    python benchmarks/real_look.py -i ct.nii.gz --truth seg.nii.gz --names names.json --slab 36
    python benchmarks/real_look.py --paint 0,1,2 --truth seg.nii.gz -o painted.csv \
        --names benchmarks/names/totalsegmentator.json
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
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
from mots_pretrained.phantom import paint
from mots_pretrained.weights.fingerprint import weights_sha256

COLUMNS = ("mask", "label map", "false ml in masks", "false ml in label map")


def main() -> None:
    arguments = _arguments()
    net = load(arguments.model)
    names = label_names(arguments.names)
    predictor = Predictor(net, overlap=arguments.overlap)
    weights = weights_sha256(net.state_dict())[:12]
    told = [f"overlap {arguments.overlap:g}"]
    told += [f"slab {arguments.slab:g} mm"] * bool(arguments.slab)
    told += [f"painted, randomise {arguments.randomise:g}"] * bool(arguments.paint)
    rows: dict[str, list[dict[str, float]]] = {}
    lines: list[Line] = []
    for case, volume, labels in cases(arguments, names):
        for category, found in look(predictor, volume, labels.array, names).items():
            rows.setdefault(category, []).append(found)
            print(f"{case:<30} {category:<24} " + "  ".join(
                f"{key} {value:.3f}" for key, value in found.items()))  # fmt: skip
            shared = {
                "table": "real look",
                "row": arguments.model,
                "setting": ", ".join([f"weights {weights}", *told]),
                "case": case,
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


def cases(arguments: argparse.Namespace, names: LabelNames) -> Iterator[tuple[str, Volume, Volume]]:
    """Yield name, scan and labels of each case; a label map to be painted comes once a seed."""
    truth = Path(arguments.truth)
    found: Iterable[tuple[str, Volume, Volume]]
    if arguments.paint:
        maps = [truth] if truth.is_file() else list_volumes(truth)
        seeds = [int(seed) for seed in arguments.paint.split(",")]
        found = (
            (f"{name} painted {seed}", painted(labels, names, seed, arguments.randomise), labels)
            for name, labels in ((case_key(path), read_labels(path)) for path in maps)
            for seed in seeds
        )
    else:
        read = pairs(Path(arguments.input), truth)
        found = ((case_key(scan), read_volume(scan), read_labels(own)) for scan, own in read)
    for case, volume, labels in found:
        if arguments.slab:
            volume, labels = slab(volume, labels, names, arguments.slab)
        yield case, volume, labels


def painted(labels: Volume, names: LabelNames, seed: int, randomise: float) -> Volume:
    """Return a label map painted as a CT, in whole HU; a value is named by its narrowest class."""
    there = {int(value) for value in np.unique(labels.array)} - {0}
    narrowest_last = sorted(names.classes.items(), key=lambda item: -len(item[1]))
    named = {value: name for name, values in narrowest_last for value in values if value in there}
    image = paint(labels.array, named, labels.spacing, seed=seed, randomise=randomise)
    return Volume.with_spacing(np.rint(image), labels.spacing, name=labels.name)


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
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("-i", "--input", help="scan, or folder of scans")
    given.add_argument("--paint", default="", help="paint the label maps by these seeds, as 0,1,2")
    parser.add_argument("--randomise", type=float, default=0.0, help="of painted maps, 0 to 1")
    parser.add_argument("--truth", required=True, help="label map, or folder of label maps")
    parser.add_argument("--names", required=True, help="what the values mean: JSON file or word")
    parser.add_argument("-m", "--model", default="transdodnet.phantom")
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument(
        "--slab", type=float, default=0.0, help="mm around the first class to cut out"
    )
    parser.add_argument("-o", "--output", default="", help=f"CSV, such as {RESULTS.name}/look.csv")
    return parser.parse_args()


if __name__ == "__main__":
    main()
