"""A folder of scans in one run, against each scan in a run of its own, and one after the other.

    python benchmarks/cohort.py
    python benchmarks/cohort.py --name cohort_avx2      # another machine's, beside the first
    python benchmarks/cohort.py --quick                 # six small scans, to see it run

Twenty scans of 160x256x256: a phantom with noise of its own in each; two files are broken and one
is no CT. Measured are the command line on the folder, the sum of the command line on every scan,
and, in one process, the scans one after the other without reading ahead or writing behind. What
they write is compared. Throughput is told including start-up (the folder against the single runs)
and excluding it: a run that only starts and loads the network is taken off the folder's run once,
and off the single runs once a scan.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from record import least, write

from mots_pretrained.errors import UserError
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.phantom import torso

SCANS, SHAPE, SPACING = 20, (80, 128, 128), (4.0, 3.2, 3.2)


def make_scans(folder: Path, count: int, shape: tuple[int, int, int]) -> None:
    """Write the scans; the second and the last but one are broken, the fourth is no CT."""
    folder.mkdir()
    phantom = torso(5, domain="liver", shape=shape, spacing=SPACING)
    image = phantom.image.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    for number in range(count):
        rng = np.random.default_rng(number)
        array = (image + rng.normal(0, 12, image.shape)).round().astype(np.int16)
        if number == 3:
            array = rng.integers(0, 256, image.shape).astype(np.int16)
        volume = Volume.with_spacing(array, [step / 2 for step in SPACING])
        path = folder / f"scan{number:02d}.nii.gz"
        write_like(path, array, volume, dtype=np.int16)
        if number in (1, count - 2):
            path.write_bytes(path.read_bytes()[: 100_000 * (number > 1)])


def one_after_the_other(folder: Path, out: Path) -> None:
    """Segment the scans of a folder without overlap, in this process; none of an empty one."""
    from mots_pretrained.inference import Predictor
    from mots_pretrained.inference.cohort import find_scans, write_results
    from mots_pretrained.networks import load
    from mots_pretrained.training.machine import prepare_machine

    prepare_machine("cpu")
    predictor = Predictor(load("transdodnet.phantom"), device="cpu", batch=None)  # as the command
    for scan in find_scans([folder], 1) if any(folder.iterdir()) else ():
        try:
            found = predictor(scan.images[0])
        except UserError:
            continue
        write_results(found, out, files=scan.images, config=predictor.config)


def ratios(kinds: dict[str, dict[str, float]], count: int) -> dict[str, float]:
    """Say how many times as long single runs take as the folder, with and without their starts.

    Example:
        >>> walls = {"one run": 12.0, "single runs, summed": 40.0, "start-up alone": 2.0,
        ...          "one process, in turn": 18.0}
        >>> ratios({kind: {"wall_seconds": wall} for kind, wall in walls.items()}, 10)
        {'including start-up': 3.33, 'excluding start-up': 2.0, 'one process, in turn': 1.6}
    """
    wall = {kind: run["wall_seconds"] for kind, run in kinds.items()}
    folder, start = wall["one run"], wall["start-up alone"]
    work = folder - start
    found = {
        "including start-up": wall["single runs, summed"] / folder,
        "excluding start-up": (wall["single runs, summed"] - count * start) / work,
        "one process, in turn": (wall["one process, in turn"] - start) / work,
    }
    return {name: round(value, 2) for name, value in found.items()}


def timed(words: list[str]) -> dict[str, float]:
    """Run a command; wall seconds, and CPU seconds of it alone; bad scans may fail."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    after = os.times()
    if done.returncode not in (0, 1, 2) or "Traceback" in done.stderr:
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr[-500:]}")
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return {"wall_seconds": time.perf_counter() - start, "cpu_seconds": cpu}


def main() -> None:
    """Measure and write results/NAME.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="cohort", help="of the CSV")
    parser.add_argument("--count", type=int, default=SCANS, help="scans, at least 6")
    parser.add_argument("--quick", action="store_true", help="six small scans, written nowhere")
    parser.add_argument("--loop", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        one_after_the_other(*map(Path, options.loop))
        return
    count, shape = (6, (24, 32, 32)) if options.quick else (options.count, SHAPE)
    with tempfile.TemporaryDirectory() as place:
        scans = Path(place) / "scans"
        make_scans(scans, count, shape)
        Path(place, "none").mkdir()
        verb = [sys.executable, "-m", "mots_pretrained", "predict", "-q"]
        load = os.getloadavg()[0]
        rows = []
        files = sorted(scans.iterdir())
        work: dict[str, list[list[str]]] = {
            "one run": [[*verb, "-i", str(scans), "-o", f"{place}/folder"]],
            "single runs, summed": [
                [*verb, "-i", str(file), "-o", f"{place}/single"] for file in files
            ],
            "one process, in turn": [
                [sys.executable, __file__, "--loop", str(scans), f"{place}/loop"]
            ],
            "start-up alone": [
                [sys.executable, __file__, "--loop", f"{place}/none", f"{place}/nothing"]
            ],
        }
        runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in work}
        for kinds_in_turn in (list(work), list(work)[::-1]):
            for kind in kinds_in_turn:
                for out in ("folder", "single", "loop"):
                    if any(str(word).endswith(f"/{out}") for word in work[kind][0]):
                        shutil.rmtree(Path(place) / out, ignore_errors=True)
                times = [timed(words) for words in work[kind]]
                runs[kind].append({key: sum(one[key] for one in times) for key in times[0]})
        kinds = {kind: least(both) for kind, both in runs.items()}
        same = all(
            (Path(place) / other / path.name).read_bytes() == path.read_bytes()
            for path in Path(place, "folder").glob("*_seg.nii.gz")
            for other in ("single", "loop")
        )
        done = len(list(Path(place, "folder").glob("*_seg.nii.gz")))
        setting = (
            f"{done} of {count} scans; equal results: {same}; load {load:.1f} of "
            f"{os.cpu_count()} cores before"
        )
        told = {kind: {m: round(v, 2) for m, v in run.items()} for kind, run in kinds.items()}
        told["times the folder's"] = ratios(kinds, count)
        for row, run in told.items():
            rows += [
                {"table": "cohort", "row": row, "metric": metric, "value": value,
                 "setting": setting} for metric, value in run.items()
            ]  # fmt: skip
    if not options.quick:
        write(options.name, rows)
    sys.stdout.write(json.dumps({**told, "setting": setting}, indent=2) + "\n")


if __name__ == "__main__":
    main()
