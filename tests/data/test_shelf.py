"""Cases are made once; what does not fit into memory lies on disk, and goes at the end."""

from pathlib import Path

import numpy as np

from mots_pretrained.data.layouts.labelled import LabelledScan
from mots_pretrained.data.patches import Case, extract
from mots_pretrained.data.shelf import FOLDER, Shelf


def test_cases_beyond_the_memory_lie_on_disk(tmp_path):
    made = []

    def make(scan):
        made.append(scan.name)
        rng = np.random.default_rng(len(scan.name))
        image = rng.uniform(-1, 1, (1, 8, 8, 8)).astype(np.float32)
        return Case(image, (image > 0).astype(np.uint8), name=scan.name)

    scans = [LabelledScan(name, (), Path(name)) for name in ("a", "bb")]
    with Shelf(make, tmp_path, gigabytes=3e-6) as shelf:
        one, two = shelf(scans)
        assert shelf(scans[1:]) == [two]
        assert made == ["a", "bb"]
        assert isinstance(one.image, np.ndarray)
        assert not isinstance(two.image, np.ndarray)
        assert (tmp_path / FOLDER).is_dir()
        assert two.name == "bb"
        expected = make(scans[1])
        image, target = extract(two, (1, 2, 3), (4, 4, 4))
        np.testing.assert_allclose(image, expected.image[:, 1:5, 2:6, 3:7], atol=2e-4)
        np.testing.assert_array_equal(target, expected.target[:, 1:5, 2:6, 3:7])
    assert not (tmp_path / FOLDER).exists()
