"""The benchmark of predicting a scan: places of the windows run, agreement, what is compared."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.phantom import torso


@pytest.fixture
def arms(bench):
    return bench("inference_arms")


def test_four_windows_cover_a_part_alone(arms):
    places, part = arms.four_windows((200, 512, 512), (64, 256, 256))
    assert len(places) == 4
    assert [p.stop - p.start for p in part] == [64, 384, 384]
    assert min(places) == tuple(p.start for p in part) == (68, 64, 64)
    assert arms.four_windows((75, 137, 137), (48, 96, 96))[0] == [(1, 20, 20), (25, 20, 20)]
    assert arms.four_windows((48, 96, 96), (48, 96, 96))[0] == [(0, 0, 0)]


def test_agreement_is_dice_over_the_voxels_of_all_masks(arms):
    a = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]], bool)
    b = np.array([[1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]], bool)
    assert arms.agreement(a, b) == pytest.approx(2 * 2 / (4 + 3))
    assert arms.agreement(a[2:], b[2:]) == 1


def test_lines_say_what_was_reckoned_and_what_is_compared(script):
    found = {
        "one window": {"peak_gib": 0.5},
        "plain loop": {"peak_gib": 1.75, "reckoned_seconds": 90.0},
        "monai": {"seconds": 30.0, "peak_gib": 0.9},
        "ours, one task": {"seconds": 19.0, "peak_gib": 0.6},
        "ours": {"seconds": 20.0, "peak_gib": 0.7},
    }
    rows = script.rows_of(found, "paper", "float32", (200, 512, 512), 2)
    by = {(row["setting"], row["metric"]): row["value"] for row in rows}
    loop = "plain loop, float32, 2 threads"
    assert by[f"{loop}, reckoned from the windows run", "reckoned_seconds"] == 90
    assert by[loop, "peak_gib_above"] == 1.25
    assert by["ours, one task, float32, 2 threads", "peak_above_as_share_of_plain_loop"] == 0.08
    assert {row["row"] for row in rows} == {"paper, 512x512x200"}
    del found["plain loop"]["peak_gib"]  # it failed
    rows = script.rows_of(found, "paper", "float32", (200, 512, 512), 2)
    assert "peak_above_as_share_of_plain_loop" not in {row["metric"] for row in rows}


def test_how_many_times_as_long_is_the_median_of_the_turns(script):
    ours = [{"seconds": s} for s in (12.0, 11.0, 10.5)]
    others = [{"seconds": 6.0}, {"failed": 1.0}, {"seconds": 10.0}, {"seconds": 1.0}]
    assert script.times_as_long(ours, others) == pytest.approx((2.0 + 1.05) / 2)
    assert script.times_as_long(ours, others[1:2]) is None


def test_throughput_is_told_with_and_without_start_up(bench):
    ratios = bench("cohort").ratios
    walls = {
        "one run": 12.0, "single runs, summed": 40.0, "start-up alone": 2.0,
        "one process, in turn": 18.0,
    }  # fmt: skip
    found = ratios({kind: {"wall_seconds": wall} for kind, wall in walls.items()}, 10)
    assert found == {
        "including start-up": 3.33, "excluding start-up": 2.0, "one process, in turn": 1.6
    }  # fmt: skip


@pytest.mark.long
def test_an_arm_runs_in_a_process_of_its_own(arms, tmp_path):
    """On a scan of two windows; of the loop these are all that is run, with eight mirrors each."""
    scan = torso(5, domain="liver", shape=(24, 48, 72), spacing=(8.0, 6.0, 6.0), focus="liver")
    volume = Volume.with_spacing(scan.image.round().astype(np.int16), scan.spacing)
    write_like(tmp_path / arms.SCAN, volume.array, volume, dtype=np.int16)

    def run(arm: str, *more: str) -> dict[str, float]:
        words = [sys.executable, arms.__file__, "--quick", arm, "shipped", "float32"]
        return json.loads(subprocess.check_output([*words, str(tmp_path), *more], text=True))

    told = {arm: run(arm) for arm in ("ours", "one window", "plain loop", "monai", "ours, bounded")}
    assert all(each["peak_kept_gib"] > 0 for each in told.values())
    assert [*run("plain loop", "--memory")] == ["peak_gib"]
    assert told["monai"]["agreement_with_ours_float32"] > 0.95  # its windows lie elsewhere
    assert told["ours, bounded"]["agreement_with_ours_float32"] > 0.99
    loop = told["plain loop"]
    assert loop["largest_difference_on_the_windows_run"] < 1e-3  # of probabilities, ours in half
    assert loop["reckoned_seconds"] == pytest.approx(7 * loop["reckoned_seconds_one_task"])
