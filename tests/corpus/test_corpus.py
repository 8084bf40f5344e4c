"""Whatever a file holds or is called: a right result or one plain line, soon and in little memory.

``python tests/corpus/drive.py`` prints the counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from corpus.drive import PARTS, TOGETHER

DRIVE = Path(__file__).parent / "drive.py"
PEAK_MB = 1500  # of the whole process, torch and all libraries included


@pytest.fixture(scope="module", params=["25", pytest.param("1", marks=pytest.mark.long)])
def report(request: pytest.FixtureRequest, tmp_path_factory) -> dict[str, Any]:
    """One process for a sample or for the whole corpus, whose address space is bounded."""
    path = tmp_path_factory.mktemp("corpus") / "report.json"
    words = [sys.executable, DRIVE, path, request.param]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500, check=False)
    assert path.is_file(), done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(path.read_text())


def test_every_input_is_read_rightly_or_refused_in_a_plain_line(report):
    failures = [f"{f['kind']}: {f['name']}: {f['why'][-300:]}" for f in report["failures"]]
    assert failures == []


def test_each_kind_of_input_is_in_a_sample_too(report):
    assert len(report["counts"]) >= 25


@pytest.mark.parametrize("report", [pytest.param("1", marks=pytest.mark.long)], indirect=True)
def test_the_corpus_is_as_large_as_it_is_said_to_be(report):
    counts = report["counts"][TOGETHER]
    assert sum(counts.values()) >= 1500
    assert counts["right"] >= 500
    assert counts["refused"] >= 700


def test_memory_stays_bounded(report):
    assert report["peak_mb"] < PEAK_MB


def test_the_corpus_is_the_same_each_time(tmp_path):
    code = (
        "import sys, hashlib; sys.path[:0] = sys.argv[1:]; from corpus import niftis\n"
        "for _ in range(2):\n"
        "    print(hashlib.sha256(repr([*niftis.fields()]).encode()).hexdigest())"
    )
    places = [str(DRIVE.parent.parent), str(DRIVE.parents[2])]
    told = [
        subprocess.run(
            [sys.executable, "-c", code, *places], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert len({*told[0], *told[1]}) == 1
    assert PARTS == ("niftis", "others", "texts", "models", "names")
