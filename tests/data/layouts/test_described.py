"""Further collections out of a short YAML file: read as written, or refused in one line."""

import numpy as np
import pytest

from mots_pretrained.data.layouts import find_collections
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.tasks import Task

DESCRIPTION = """
name: gallbladder
source: AMOS22
image: imagesTr/*_0000.nii.gz
label: labelsTr/*.nii.gz
values:
  1: background
  4: organ
  5: [organ, tumour]
"""


def write(root, text, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    path = root / "gallbladder.yaml"
    path.write_text(text)
    return path


FILES = (
    "imagesTr/amos_0001_0000.nii.gz",
    "imagesTr/._amos_0001_0000.nii.gz",
    "labelsTr/amos_0001.nii.gz",
)


def test_a_description_gives_a_new_task(tmp_path):
    path = write(tmp_path, DESCRIPTION, *FILES)
    (found,) = find_collections(None, descriptions=[path])
    assert found.task == Task(
        "gallbladder",
        "gallbladder",
        "gallbladder_tumour",
        (4, 5),
        (5,),
        "AMOS22",
        background_values=(1,),
    )
    (case,) = found.cases
    assert case.name == "gallbladder_amos_0001"
    assert (found.name, found.folder) == ("gallbladder", tmp_path)
    assert case.images == (tmp_path / FILES[0],)
    assert case.label == tmp_path / FILES[2]
    targets = Targets.of_task(found.task)
    target = targets.target(np.array([[[0, 1, 4, 5]]]), (1, 1, 4))
    assert target[:, 0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 0, 1]]
    assert targets.labelled == (True, True)
    assert targets.known == (0, 1, 4, 5)


def test_a_name_repeats_in_its_files_and_the_folder_may_lie_elsewhere(tmp_path):
    text = """
name: node
folder: ../scans
image: "*/ct_*.nii"
label: "*/*_nodes.nii"
values: {1: tumour}
tumour: lymph_node
"""
    for name in ("a/ct_a.nii", "a/a_nodes.nii", "b/ct_x.nii"):  # the last is of no case
        (tmp_path / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "scans" / name).touch()
    (tmp_path / "descriptions").mkdir()
    (found,) = find_collections(None, descriptions=[write(tmp_path / "descriptions", text)])
    assert [case.name for case in found.cases] == ["node_a"]
    assert (found.task.organ, found.task.tumour) == (None, "lymph_node")
    assert found.task.tumour_values == (1,)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name:", "nam:", "unknown key 'nam'; there are: name"),
        ("name: gallbladder", "", "lacks 'name'"),
        ("name: gallbladder", "name: Gall bladder", "'Gall bladder' is no name"),
        ("name: gallbladder", "name: [", "is not valid YAML"),
        ("4: organ", "four: organ", "values says 'four': 'organ'"),
        ("4: organ", "4: organs", "values says 4: 'organs'; .* one of background, organ, tumour"),
        (DESCRIPTION[DESCRIPTION.index("values") :], "values: {1: background}", "neither organ"),
        (DESCRIPTION[DESCRIPTION.index("values") :], "values: 1", "neither organ"),
        ("imagesTr/*_0000", "imagesTr/one_0000", r"must lie below the folder and hold a \*"),
        ("imagesTr/*_0000", "../imagesTr/*_0000", "must lie below the folder"),
        ("imagesTr/*_0000", "imagesTr/*_0001", r"no file fits image: imagesTr/\*_0001.nii.gz"),
        ("labelsTr/*.nii.gz", "labels/*.nii.gz", "has no label map; complete the pair"),
        (DESCRIPTION, "- a list", "must hold the keys name, image, label, values"),
    ],
)
def test_faults_are_named(tmp_path, old, new, message):
    assert old in DESCRIPTION
    path = write(tmp_path, DESCRIPTION.replace(old, new), *FILES)
    with pytest.raises(ValueError, match=message):
        find_collections(None, descriptions=[path])


def test_missing_files_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such description"):
        find_collections(None, descriptions=[tmp_path / "none.yaml"])
    path = write(tmp_path, DESCRIPTION + "folder: gone", *FILES)
    with pytest.raises(FileNotFoundError, match=r"names the folder .*gone, which is not there"):
        find_collections(None, descriptions=[path])


def test_a_task_has_one_collection(tmp_path):
    path = write(tmp_path, DESCRIPTION, *FILES)
    with pytest.raises(ValueError, match="two collections supervise 'gallbladder'"):
        find_collections(None, descriptions=[path, path])
