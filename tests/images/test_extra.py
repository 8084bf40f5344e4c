"""A missing package of the extra is named, with the command that installs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_series import (
    voxels,
    write_series,
)

from mots_pretrained.errors import UserError
from mots_pretrained.images.extra import extra
from mots_pretrained.images.reading import read_volume


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    write_series(tmp_path / "ct", voxels())
    sitk.WriteImage(sitk.GetImageFromArray(voxels()), str(tmp_path / "ct.nrrd"))
    for module, path in (("pydicom", tmp_path / "ct"), ("SimpleITK", tmp_path / "ct.nrrd")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(UserError, match=rf"needs {module}; .* 'mots_pretrained\[dicom\]'"):
            read_volume(path)


def test_a_module_of_a_package_is_imported_and_a_missing_one_names_its_package() -> None:
    assert extra("pydicom.uid", "reading").__name__ == "pydicom.uid"
    with pytest.raises(UserError, match=r"^drawing needs no_such_package; install it with: "):
        extra("no_such_package.part", "drawing")


def test_pydicom_does_not_warn_of_values_that_scanners_write() -> None:
    pydicom = extra("pydicom", "reading")
    assert pydicom.config.settings.reading_validation_mode == pydicom.config.IGNORE
