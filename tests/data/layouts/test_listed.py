"""Cases that a list names by paths: their channels, and names that tell them apart."""

from pathlib import Path

import pytest
from original_layouts import touch

from mots_pretrained.data.layouts.listed import listed_case, listed_cases, named_apart

LIST = Path("list.json")


def named(root, *pairs):
    """Name cases of one image and a label map each."""
    touch(root, *(path for pair in pairs for path in pair))
    entries = [{"image": image, "label": label} for image, label in pairs]
    return [case.name for case in named_apart(listed_cases(entries, root, LIST), LIST)]


def test_channels_are_one_file_several_or_of_several_keys(tmp_path):
    touch(tmp_path, "a_ct.nii.gz", "a_pet.nii.gz", "a_t2.nii.gz", "a.nii.gz")
    for entry, files in [
        ({"image": "a_ct.nii.gz"}, ["a_ct.nii.gz"]),
        ({"image": ["a_ct.nii.gz", "a_pet.nii.gz"]}, ["a_ct.nii.gz", "a_pet.nii.gz"]),
        (
            {"image10": "a_t2.nii.gz", "image2": "a_pet.nii.gz", "image": "a_ct.nii.gz"},
            ["a_ct.nii.gz", "a_pet.nii.gz", "a_t2.nii.gz"],
        ),
    ]:
        (case,) = listed_cases([entry | {"label": "a.nii.gz", "age": 50}], tmp_path, LIST)
        assert [path.name for path in case.images] == files
        assert case.label == tmp_path / "a.nii.gz"


@pytest.mark.parametrize(
    ("pairs", "names"),
    [
        ([("images/a.nii", "labels/a.nii"), ("images/b.nii", "labels/b.nii")], ["a", "b"]),
        ([("case_1/ct.nii", "case_1/seg.nii"), ("case_2/ct.nii", "case_2/seg.nii")],
         ["case_1", "case_2"]),
        ([("x/p1/ct.nii", "x/p1/seg.nii"), ("y/p1/ct.nii", "y/p1/seg.nii")],
         ["x/p1/ct", "y/p1/ct"]),
        ([("x/a.nii", "x/a_seg.nii"), ("y/a.nii", "y/a_seg.nii"), ("y/b.nii", "y/b_seg.nii")],
         ["x/a", "y/a", "y/b"]),
        ([("t/a_0000.nii", "l/a.nii")], ["a"]),
    ],
)  # fmt: skip
def test_names_are_the_files_or_those_of_their_folders(tmp_path, pairs, names):
    assert named(tmp_path, *pairs) == names


def test_a_case_that_is_listed_twice_is_named(tmp_path):
    pair = ("t/a.nii", "l/a.nii")
    with pytest.raises(ValueError, match=r"list.json lists .*t/a.nii and .*t/a.nii as two cases"):
        named(tmp_path, pair, ("t/b.nii", "l/b.nii"), pair)


def test_what_is_missing_is_named(tmp_path):
    touch(tmp_path, "a.nii", "l.nii")
    with pytest.raises(FileNotFoundError, match=r"list.json lists \.\./b.nii, which is not there"):
        listed_case(["a.nii", "../b.nii"], "l.nii", tmp_path, where=LIST)
    with pytest.raises(FileNotFoundError, match=r"lists x{200}, which is not there"):
        listed_case("x" * 5000, "l.nii", tmp_path, where=LIST)  # longer than names may be
    (tmp_path / "series").mkdir()
    with pytest.raises(ValueError, match=r"lists series, which is a folder; .* no DICOM"):
        listed_case("series", "l.nii", tmp_path, where=LIST)
    with pytest.raises(ValueError, match=r"a.nii has no label: m.nii is not there \(list.json\)"):
        listed_case("a.nii", "m.nii", tmp_path, where=LIST)
    with pytest.raises(ValueError, match=r"a.nii has no label: none is listed \(list.json\)"):
        listed_cases([{"image": "a.nii"}], tmp_path, LIST)
    for entry in ("a.nii", {}, {"label": "l.nii"}, {"image": [], "label": "l.nii"}):
        with pytest.raises(ValueError, match=r'entry 2 must be \{"image": '):
            listed_cases([{"image": "a.nii", "label": "l.nii"}, entry], tmp_path, LIST)


def test_channels_of_one_name_are_numbered_without_a_gap(tmp_path):
    """Of a_0000 and a_0002 the latter was taken for the second channel."""
    touch(tmp_path, *(f"a_{number:04d}.nii" for number in (2, 0, 1)), "l.nii")
    case = listed_case("a.nii", "l.nii", tmp_path, where=LIST)
    assert [path.name for path in case.images] == ["a_0000.nii", "a_0001.nii", "a_0002.nii"]
    for gone in ("a_0001", "a_0000"):
        (tmp_path / f"{gone}.nii").unlink()
        with pytest.raises(ValueError, match=f"holds a_0002 but not {gone}; a case needs all"):
            listed_case("a.nii", "l.nii", tmp_path, where=LIST)
    touch(tmp_path, "a_0000.nii", "a_0001.nii", "a_0001.nii.gz")
    with pytest.raises(ValueError, match=r"a_0001.nii and .*a_0001.nii.gz are both a_0001; keep"):
        listed_case("a.nii", "l.nii", tmp_path, where=LIST)
