"""The series of a folder or a zip, told apart, and the one that is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_series import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    assert_same,
    by_simpleitk,
    voxels,
    write_series,
)

from mots_pretrained.errors import MissingFileError, UnknownNameError, UserError
from mots_pretrained.images.dicom import choose_series, find_series, matching
from mots_pretrained.images.reading import read_volume


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, SAGITTAL])
def test_names_numbers_and_order_of_files_say_nothing(tmp_path: Path, orientation) -> None:
    array = voxels()
    places = [0, 3, 6, 9, 12, 15]
    mixed = [3, 0, 5, 1, 4, 2]
    write_series(
        tmp_path / "a",
        array[mixed],
        orientation=orientation,
        places=[places[k] for k in mixed],
        names=lambda index: f"{index * 7919 % 97:02x}",
        order=[9, 1, 1, 400, 2, 7],
    )
    (tmp_path / "a" / "notes.txt").write_text("no DICOM")
    (tmp_path / "a" / "DICOMDIR").write_bytes(b"\0" * 200)
    truth = write_series(tmp_path / "b", array, orientation=orientation)
    assert_same(read_volume(tmp_path / "a"), by_simpleitk(truth, tmp_path))


ONE: dict[str, Any] = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3"}


def test_acquisitions_of_one_series_are_told_apart(tmp_path: Path) -> None:
    early, late = voxels(seed=1), voxels(seed=2)
    for name, number, array in (("a", 1, early), ("b", 2, late)):
        write_series(tmp_path / "ct" / name, array, AcquisitionNumber=number, **ONE)
    with pytest.raises(UserError, match="2 series that could be meant; choose one with --series"):
        read_volume(tmp_path / "ct")
    read = read_volume(tmp_path / "ct", series="Abdomen, acquisition 2")
    np.testing.assert_array_equal(read.array, late)


@pytest.mark.parametrize("shift", [2.5, 1.0, 0.02])
def test_acquisitions_between_each_other_are_told_apart(tmp_path: Path, shift: float) -> None:
    arrays = voxels((9, 8, 8), seed=1), voxels((9, 8, 8), seed=2)
    for number, array in enumerate(arrays):
        write_series(tmp_path / "ct" / f"{number}", array, step=5.0, AcquisitionNumber=number + 1,
                     origin=(-10, 20, -30 + number * shift), **ONE)  # fmt: skip
    for number, array in enumerate(arrays):
        read = read_volume(tmp_path / "ct", series=f"Abdomen, acquisition {number + 1}")
        np.testing.assert_array_equal(read.array, array)
        assert read.affine[2, 3] == pytest.approx(-30 + number * shift)


def test_acquisitions_that_follow_each_other_are_one_volume(tmp_path: Path) -> None:
    array = voxels((12, 8, 8))
    write_series(tmp_path, array, AcquisitionNumber=[1] * 4 + [2] * 4 + [3] * 4)
    assert read_volume(tmp_path).shape[0] == 12


def test_times_with_an_acquisition_number_an_image_are_told_apart(tmp_path: Path) -> None:
    for time in (1, 2):
        write_series(tmp_path / str(time), voxels(seed=time), TemporalPositionIdentifier=time,
                     AcquisitionNumber=[6 * time + k for k in range(6)], **ONE)  # fmt: skip
    assert [s.label for s in find_series(tmp_path)] == ["Abdomen, time 1", "Abdomen, time 2"]


@pytest.mark.parametrize("of", ["StudyInstanceUID", "PatientID"])
def test_patients_with_one_series_uid_are_never_one_scan(tmp_path: Path, of: str) -> None:
    for number in (1, 2):
        own = {**ONE, of: f"1.2.{number}"}
        write_series(tmp_path / f"{number}", voxels(seed=number), origin=(-10, 20, -1.5 * number),
                     **own)  # fmt: skip
    with pytest.raises(UserError, match="2 series that could be meant"):
        read_volume(tmp_path)
    assert len({series.key for series in find_series(tmp_path)}) == 2


def test_copies_with_rounded_positions_are_doubles(tmp_path: Path) -> None:
    array = voxels()
    write_series(tmp_path / "a", array, step=1.27, **ONE)
    places = np.round(np.arange(6) * 1.27, 1)
    write_series(tmp_path / "b", array, places=places, **ONE)
    with pytest.warns(UserWarning, match="6 duplicated images are left out"):
        assert read_volume(tmp_path).shape[0] == 6


def test_a_first_image_marked_localizer_leaves_the_others_a_volume(tmp_path: Path) -> None:
    array = voxels()
    files = write_series(tmp_path, array)
    ds = pydicom.dcmread(files[0])
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    ds.save_as(files[0])
    with pytest.warns(UserWarning, match="1 images of another size, direction or study"):
        assert read_volume(tmp_path).shape[0] == 5


def several(root: Path) -> dict[str, np.ndarray]:
    """A place with two CT series, an MR series and a localizer."""
    arrays = {name: voxels(seed=k) for k, name in enumerate(("portal", "arterial", "mr"))}
    write_series(root, arrays["portal"], names=lambda k: f"p{k}", SeriesNumber=4,
                 SeriesDescription="Abdomen portal 5.0", SeriesInstanceUID="1.2.4")  # fmt: skip
    write_series(root, arrays["arterial"], names=lambda k: f"a{k}", SeriesNumber=5,
                 SeriesDescription="Abdomen arterial", SeriesInstanceUID="1.2.5")  # fmt: skip
    write_series(root, arrays["mr"], names=lambda k: f"m{k}", SeriesNumber=6, Modality="MR",
                 SeriesDescription="T2")  # fmt: skip
    write_series(root, voxels((2, 30, 30)), names=lambda k: f"l{k}", SeriesNumber=1,
                 ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], orientation=CORONAL)  # fmt: skip
    return arrays


def test_a_series_is_chosen_by_uid_number_or_description(tmp_path: Path) -> None:
    arrays = several(tmp_path)
    for name, words in {
        "portal": ("1.2.4", "4", "abdomen PORTAL 5.0", "portal"),
        "arterial": ("1.2.5", "5", "arterial"),
        "mr": ("6", "t2"),
    }.items():
        for wanted in words:
            np.testing.assert_array_equal(read_volume(tmp_path, series=wanted).array, arrays[name])
    with pytest.raises(UserError) as caught:
        read_volume(tmp_path)
    message = str(caught.value)
    assert '4: "Abdomen portal 5.0" (CT, 6 images of 8x8, 1.2.4)' in message
    assert "T2" not in message  # two CT volumes could be meant, and nothing else
    with pytest.raises(UserError, match="2 series that could be meant"):
        read_volume(tmp_path, series="abdomen")
    with pytest.raises(UnknownNameError, match="no series 'venous'; there are: 4: "):
        read_volume(tmp_path, series="venous")
    assert len(find_series(tmp_path)) == 4


def test_a_series_is_looked_for_study_by_study(tmp_path: Path) -> None:
    """A whole description of one study hid those of others that hold it in part."""
    studies = (("1", "Portal"), ("2", "Abdomen portal 3mm"), ("3", "Portal 3mm"))
    for study, description in studies:
        write_series(tmp_path / study, voxels(), StudyInstanceUID=study, SeriesNumber=3,
                     SeriesDescription=description)  # fmt: skip
        write_series(tmp_path / study / "late", voxels(), StudyInstanceUID=study,
                     SeriesNumber=4, SeriesDescription="Portal, late")  # fmt: skip

    def labels(wanted: str) -> list[str]:
        return [one.label for one in matching(find_series(tmp_path), wanted)]

    late = "Portal, late"
    assert labels("portal") == ["Portal", "Abdomen portal 3mm", late, "Portal 3mm", late]
    assert labels("3mm") == ["Abdomen portal 3mm", "Portal 3mm"]
    assert labels("abdomen portal 3mm") == ["Abdomen portal 3mm"]
    assert labels("3") == ["Portal", "Abdomen portal 3mm", "Portal 3mm"]
    with pytest.raises(UserError, match=r"holds 5 series that could be meant"):
        choose_series(tmp_path, "portal")


def test_a_number_is_no_part_of_a_description(tmp_path: Path) -> None:
    """A study without a series 3 gave the one of 3 mm."""
    write_series(tmp_path / "a", voxels(), SeriesNumber=2, SeriesDescription="Abdomen 3 mm")
    with pytest.raises(UnknownNameError, match=r"no series '3'; there are: 2: "):
        choose_series(tmp_path, "3")
    assert choose_series(tmp_path, "3 mm").header.number == "2"
    write_series(tmp_path / "b", voxels(), SeriesNumber=5, SeriesDescription="3")
    assert [one.label for one in matching(find_series(tmp_path), "3")] == ["3"]


def test_studies_are_told_apart_by_their_patient_and_without_uids_by_their_folders(
    tmp_path: Path,
) -> None:
    for name in ("a", "b", "c"):
        write_series(tmp_path / name, voxels(), StudyInstanceUID="1.2",
                     PatientID="P2" if name == "c" else "P1")  # fmt: skip
    assert [one.study for one in find_series(tmp_path)] == [("P1", "1.2")] * 2 + [("P2", "1.2")]
    for path in tmp_path.glob("*/*.dcm"):
        ds = pydicom.dcmread(path)
        del ds.StudyInstanceUID
        ds.save_as(path)
    assert len({one.study for one in find_series(tmp_path)}) == 3


def test_the_only_ct_volume_is_taken_without_asking(tmp_path: Path) -> None:
    arrays = several(tmp_path)
    for path in tmp_path.glob("a*"):
        path.unlink()
    np.testing.assert_array_equal(read_volume(tmp_path).array, arrays["portal"])
    for path in tmp_path.glob("p*"):
        path.unlink()
    assert choose_series(tmp_path).header.modality == "MR"


def test_one_image_and_no_image_are_no_volume(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", voxels((1, 8, 8)))
    for place in (files[0], tmp_path / "ct"):
        with pytest.raises(UserError, match="single images only"):
            read_volume(place)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no DICOM image"):
        read_volume(tmp_path / "empty")
    with pytest.raises(MissingFileError, match="no such file"):
        read_volume(tmp_path / "nowhere")


def test_directions_that_differ_by_rounding_are_one_series(tmp_path: Path) -> None:
    array = voxels()
    for number, path in enumerate(write_series(tmp_path / "ct", array)):
        ds = pydicom.dcmread(path)
        ds.ImageOrientationPatient = [1, 0.0005 - number * 1e-4, 0, 0, 1, 0]
        ds.save_as(path)
    (series,) = find_series(tmp_path / "ct")
    assert len(series.slices) == 6


def test_times_of_one_place_are_series_of_their_own(tmp_path: Path) -> None:
    for time in (1, 2, 3):
        folder = tmp_path / "ct" / str(time)
        write_series(folder, voxels(seed=time), TriggerTime=100 * time, **ONE)
    labels = [series.label for series in find_series(tmp_path / "ct")]
    assert labels == [f"Abdomen, trigger time {time}.0" for time in (100, 200, 300)]
    read = read_volume(tmp_path / "ct", series="trigger time 300.0")
    np.testing.assert_array_equal(read.array, voxels(seed=3))


def test_pydicoms_own_collection_is_looked_through(tmp_path: Path) -> None:
    tests = Path(pydicom.__file__).parent / "data" / "test_files"
    found = find_series(tests / "dicomdirtests")
    assert sorted(len(series.slices) for series in found if series.is_volume) == [4, 5]
    with pytest.raises(UserError, match=r"2 series that could be meant.*SmartScore"):
        read_volume(tests / "dicomdirtests")
    assert read_volume(tests / "dicomdirtests", series="SmartScore").shape == (5, 16, 16)
