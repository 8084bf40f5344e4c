"""What several tests of preparing start from."""

from __future__ import annotations

import numpy as np
import pytest
from originals import collection, write


@pytest.fixture
def livers(tmp_path):
    """Three small scans of the liver collection, all sound."""
    folder = tmp_path / "originals"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "abc":
        labels = np.zeros((6, 10, 16), np.uint8)
        labels[2:5, 3:8, 2:9] = 1
        labels[tuple(rng.integers([2, 3, 2], [5, 8, 9]))] = 2
        write(folder, name, labels)
    return collection(folder, "abc")
