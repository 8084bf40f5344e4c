"""NRRD and MetaImage headers that ITK would crash on, or follow elsewhere, are refused before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mots_pretrained.errors import UserError
from mots_pretrained.images.reading import read_volume


def written(folder: Path, ending: str) -> Path:
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16))
    sitk.WriteImage(image, str(folder / f"a{ending}"))
    return folder / f"a{ending}"


@pytest.mark.parametrize(
    ("ending", "old", "new", "told"),
    [
        (".mha", "NDims = 3", "NDims = 99999", "NDims is 99999"),
        (".mha", "DimSize = 6 5 4", "DimSize = 6 5", "DimSize is 6 5, not 3 numbers"),
        (".mha", "ElementSpacing = 1 1 1", "ElementSpacing = 1 nan 1", "ElementSpacing is"),
        (".mha", "Offset = 0 0 0", "Offset = 0 0 0 0 0 0 0 0 0 0 0 0", "Offset is"),
        (".mhd", "ElementDataFile = a.raw", "ElementDataFile = ../a.raw", "are in ../a.raw"),
        (".mhd", "ElementDataFile = a.raw", "ElementDataFile = /etc/passwd", "are in /etc"),
        (".mhd", "ElementDataFile = a.raw", "", "names no ElementDataFile"),
        (".nrrd", "dimension: 3", "dimension: 9999", "dimension is 9999"),
        (".nrrd", "sizes: 6 5 4", "sizes: 6 5", "sizes is 6 5, not 3 numbers"),
        (".nhdr", "data file: a.raw", "data file: ../../x", "are in ../../x"),
    ],
)
def test_what_itk_may_not_see_is_refused(ending, old, new, told, tmp_path):
    path = written(tmp_path, ending)
    data = path.read_bytes()
    changed = data.replace(old.encode(), new.encode())
    assert changed != data, data[:600]
    path.write_bytes(changed)
    with pytest.raises(UserError, match=told.replace("[", r"\[")):
        read_volume(path)


@pytest.mark.parametrize("ending", [".mha", ".mhd", ".nrrd", ".nhdr"])
def test_what_is_sound_is_read(ending, tmp_path):
    assert read_volume(written(tmp_path, ending)).shape == (4, 5, 6)
