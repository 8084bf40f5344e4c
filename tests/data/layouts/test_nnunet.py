"""A dataset.json in every form that the Decathlon and nnU-Net give it."""

import json

import pytest
from original_layouts import files_of, touch

from mots_pretrained.data.layouts import Fold, find_labelled
from mots_pretrained.data.layouts.nnunet import read_splits


def test_decathlon(tmp_path):
    touch(tmp_path, "imagesTr/lung_001.nii.gz", "labelsTr/lung_001.nii.gz", "imagesTs/x.nii.gz")
    description = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "cancer"},
        "training": [
            {"image": "./imagesTr/lung_001.nii.gz", "label": "./labelsTr/lung_001.nii.gz"}
        ],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    folder = find_labelled(tmp_path)
    assert files_of(folder) == [("lung_001", ["lung_001.nii.gz"], "lung_001.nii.gz")]
    assert folder.classes == {"cancer": (1,)}
    assert folder.channels == ("ct",)


def test_nnunet_with_channels_and_regions(tmp_path):
    channels = [f"imagesTr/brain_7_{i:04d}.nii.gz" for i in (1, 0)]
    touch(tmp_path, *channels, "labelsTr/brain_7.nii.gz")
    description = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "whole_tumour": [1, 2], "core": [2]},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    folder = find_labelled(tmp_path)
    images = ["brain_7_0000.nii.gz", "brain_7_0001.nii.gz"]
    assert files_of(folder) == [("brain_7", images, "brain_7.nii.gz")]
    assert list(folder.classes.items()) == [("core", (2,)), ("whole_tumour", (1, 2))]
    assert folder.channels == ("t1", "flair")
    assert folder.ignore is None


@pytest.mark.parametrize("ignored", [3, -1, 65536])
def test_nnunets_ignore_label_is_no_class(tmp_path, ignored):
    touch(tmp_path, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 2, "spleen": 1, "ignore": ignored},
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    folder = find_labelled(tmp_path)
    assert list(folder.classes.items()) == [("liver", (2,)), ("spleen", (1,))]
    assert folder.ignore == ignored


def describe(root, description, *names, encoding="utf-8"):
    touch(root, *names)
    (root / "dataset.json").write_bytes(json.dumps(description).encode(encoding))
    return find_labelled(root)


PAIR = ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
PLAIN = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1, "tumour": 2}}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_byte_order_mark_of_windows_is_read(tmp_path, encoding):
    folder = describe(tmp_path, PLAIN, *PAIR, encoding=encoding)
    assert folder.classes == {"organ": (1,), "tumour": (2,)}
    assert files_of(folder) == [("a", ["a_0000.nii.gz"], "a.nii.gz")]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ({"background": 0, "1": 1, "2": 2}, {"1": (1,), "2": (2,)}),  # names that are digits
        ({"0": "background", "1": "1", "2": "2"}, {"1": (1,), "2": (2,)}),
        ({"0": "background", "1": "lesion", "2": "lesion"}, {"lesion": (1, 2)}),
        ({"0": "Background", "2": "b", "1": "a"}, {"b": (2,), "a": (1,)}),
        ({"background": "0", "liver": "1"}, {"liver": (1,)}),
        ({"background": 0, "liver": 1.0}, {"liver": (1,)}),
        ({"Background": 0, "tumour": 255}, {"tumour": (255,)}),
        ({"background": 0, "whole": [1, 2], "core": [2]}, {"core": (2,), "whole": (1, 2)}),
        ({"background": 0, "whole": ["1", "2"], "core": 2}, {"core": (2,), "whole": (1, 2)}),
    ],
)
def test_labels_of_both_versions(tmp_path, labels, classes):
    assert describe(tmp_path, {"labels": labels}, *PAIR).classes == classes


@pytest.mark.parametrize(
    "labels", [{"liver": True}, {"liver": 1.5}, {"liver": -1}, {"liver": []}, {"liver": None},
               {" ": 1}, {"liver": [1, "two"]}],
)  # fmt: skip
def test_labels_without_a_whole_number_are_named(tmp_path, labels):
    with pytest.raises(ValueError, match="is no name with its value"):
        describe(tmp_path, {"labels": labels}, *PAIR)


@pytest.mark.parametrize(
    "path",
    [".\\{}\\{}", "{}\\{}", "./{}/{}", "D:\\nnUNet\\Dataset001\\{}\\{}", "/elsewhere/{}/{}"],
)
def test_paths_written_elsewhere_are_found(tmp_path, path):
    listed = {
        "image": path.format("imagesTr", "a.nii.gz"),
        "label": path.format("labelsTr", "a.nii.gz"),
    }
    names = ("imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    folder = describe(tmp_path, PLAIN | {"training": [listed]}, *names)
    assert files_of(folder) == [("a", ["a.nii.gz"], "a.nii.gz")]


def test_nnunet_2_lists_cases_by_name(tmp_path):
    touch(tmp_path / "raw", "t1/x.nii.gz", "t2/x.nii.gz", "truth/x.nii.gz")
    case = {
        "images": ["../raw/t1/x.nii.gz", "../raw/t2/x.nii.gz"],
        "label": "../raw/truth/x.nii.gz",
    }
    description = {
        "channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "a": 1},
        "dataset": {"patient 1": case},
    }  # fmt: skip
    folder = describe(tmp_path / "set", description, "readme.txt")
    assert files_of(folder) == [("patient 1", ["x.nii.gz", "x.nii.gz"], "x.nii.gz")]
    assert [path.parent.name for path in folder.cases[0].images] == ["t1", "t2"]
    description["dataset"] = {"patient 1": case | {"images": ["../raw/t1/gone.nii.gz"]}}
    with pytest.raises(FileNotFoundError, match=r"lists .*gone.nii.gz, which is not there"):
        describe(tmp_path / "set", description)


def test_endings_in_capitals(tmp_path):
    names = ("imagesTr/a_0000.NII.GZ", "imagesTr/b_0000.Nii", "labelsTr/a.NII.GZ", "labelsTr/b.NII")
    folder = describe(tmp_path, PLAIN, *names)
    assert [name for name, *_ in files_of(folder)] == ["a", "b"]
    listed = {"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}
    folder = describe(tmp_path, PLAIN | {"training": [listed]})
    assert files_of(folder) == [("a", ["a_0000.NII.GZ"], "a.NII.GZ")]


@pytest.mark.parametrize(
    ("files", "description", "error", "message"),
    [
        ([], "{", ValueError, r"dataset.json is not valid JSON"),
        ([], "[]", ValueError, r"must hold an object"),
        ([], '{"labels": {"0": "background"}, "training": []}', FileNotFoundError, "imagesTr"),
        (
            ["imagesTr/a.nii", "labelsTr/a.nii"],
            '{"labels": {"0": "background"}}',
            ValueError,
            "names no classes",
        ),
        (
            ["imagesTr/a.nii"],
            '{"labels": {"1": "x"}, "training": [{"image": "imagesTr/a.nii", "label": "b.nii"}]}',
            ValueError,
            r"imagesTr/a.nii has no label: .*b.nii",
        ),
        (
            ["labelsTr/a.nii"],
            '{"labels": {"1": "x"}, "training": [{"image": "imagesTr/a.nii", "label": "b.nii"}]}',
            FileNotFoundError,
            "lists .*a.nii, which is not there",
        ),
        (
            ["imagesTr/a.nii", "labelsTr/a.nii"],
            '{"labels": {"liver": "one"}}',
            ValueError,
            "no name with its value",
        ),
    ],
)
def test_faults_are_named(tmp_path, files, description, error, message):
    touch(tmp_path, *files)
    (tmp_path / "dataset.json").write_text(description)
    with pytest.raises(error, match=message):
        find_labelled(tmp_path)


def test_the_splits_of_a_folder_name_its_cases(tmp_path):
    """nnU-Net calls a case of one channel, a_0000.nii.gz, a in its splits and lists."""
    splits = [{"train": ["b"], "val": ["a"]}, {"train": ["a"], "val": ["b"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(splits))
    names = [f"{part}.nii.gz" for n in "ab" for part in (f"imagesTr/{n}_0000", f"labelsTr/{n}")]
    folder = describe(tmp_path, PLAIN | {"labelled": {"a": ["organ"], "b": ["tumour"]}}, *names)
    assert [case.name for case in folder.cases] == ["a", "b"]
    assert folder.folds == (Fold(("a",), ("b",)), Fold(("b",), ("a",)))
    splits[1]["train"] = ["c"]
    (tmp_path / "splits_final.json").write_text(json.dumps(splits))
    with pytest.raises(ValueError, match="trains on 'c', which is no labelled case here"):
        find_labelled(tmp_path)


def test_listed_cases_whose_files_are_called_alike(tmp_path):
    names = [f"case_{n}/{part}.nii.gz" for n in (1, 2) for part in ("imaging", "segmentation")]
    training = [{"image": names[0], "label": names[1]}, {"image": names[2], "label": names[3]}]
    folder = describe(tmp_path, PLAIN | {"training": training}, *names)
    assert [case.name for case in folder.cases] == ["case_1", "case_2"]


def test_splits_are_read_by_fold(tmp_path):
    splits = [{"train": ["b", "c"], "val": ["a"]}, {"train": ["a"], "val": ["b", "c"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(splits))
    read = [Fold(("a",), ("b", "c")), Fold(("b", "c"), ("a",))]
    assert read_splits(tmp_path) == read
    assert read_splits(tmp_path / "splits_final.json") == read
    wrong = ("[]", "{}", '[{"train": ["a"]}]', '[{"val": []}]', '[{"val": ["a"]}]', "[3]",
             '[{"train": [], "val": ["a"]}]')  # fmt: skip
    for text in wrong:
        (tmp_path / "splits_final.json").write_text(text)
        with pytest.raises(ValueError, match="holds no splits"):
            read_splits(tmp_path)
    splits[1]["train"] = ["a", "c"]
    (tmp_path / "splits_final.json").write_text(json.dumps(splits))
    with pytest.raises(ValueError, match="has 'c' in both parts of fold 1"):
        read_splits(tmp_path)
    (tmp_path / "splits_final.json").write_text("{")
    with pytest.raises(ValueError, match="is not valid JSON"):
        read_splits(tmp_path)
    with pytest.raises(FileNotFoundError, match="beside preprocessed data"):
        read_splits(tmp_path / "none.json")
