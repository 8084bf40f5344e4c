"""``mots check``: what it finds in small collections, its page, and its exit status."""

import base64
import gzip
import json
import re
import shutil

import numpy as np
import pytest

from mots_pretrained.cli import main
from mots_pretrained.data.layouts import find_collections
from mots_pretrained.data.split import split_cases, validation_cases
from mots_pretrained.images.nifti import write_nifti

NAMES = [f"spleen_{number}" for number in (2, 3, 4, 6, 8, 9)]
AFFINE = np.diag([6.0, 6.0, 8.0, 1.0])


def person(seed):
    """A body of 40 HU with a brighter spleen on its left, behind, in the array order (x, y, z)."""
    rng = np.random.default_rng(seed)
    image = np.full((40, 30, 24), -1000, np.int16)
    image[3:37, 4:26] = 40
    spleen = np.zeros(image.shape, np.uint8)
    spleen[6:13, 6:13, 10:17] = 1  # x runs to the patient's right, y to the front, z up
    image[spleen == 1] = 110
    return image + rng.integers(-5, 6, image.shape, dtype=np.int16), spleen


def write(folder, name, image, label, affine=AFFINE, label_affine=None):
    write_nifti(folder / "imagesTr" / f"{name}.nii.gz", image, affine)
    label_affine = affine if label_affine is None else label_affine
    write_nifti(folder / "labelsTr" / f"{name}.nii.gz", label, label_affine)


@pytest.fixture
def spleens(tmp_path):
    """A Decathlon spleen collection in which nothing is wrong."""
    folder = tmp_path / "root" / "Task09_Spleen"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        write(folder, name, *person(seed))
    pairs = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in NAMES]
    listed = {"labels": {"0": "background", "1": "spleen"}, "training": pairs, "test": []}
    (folder / "dataset.json").write_text(json.dumps(listed))
    return folder


def check(folder, capsys, *more):
    """Run it; return the exit status and what ``--json`` prints."""
    status = main(["check", "-i", f"{folder.parent}", "--workers", "1", "--json", "-q", *more])
    return status, json.loads(capsys.readouterr().out)


def found(printed):
    return [(f["kind"], f["case"], f["problem"]) for f in printed["findings"]]


def test_a_clean_collection_has_no_problems_and_a_page_of_its_pictures(spleens, tmp_path, capsys):
    page = tmp_path / "report.html"
    status, printed = check(spleens, capsys, "-o", f"{page}")
    assert (status, printed["cases"], printed["problems"]) == (0, 6, 0)
    (collection,) = printed["collections"]
    assert collection["orientation"]["left-right"] == "upright in 6 of 6"
    text = page.read_text("utf-8")
    pictures = re.findall(r'<img alt="([^"]+)" src="data:image/jpeg;base64,([^"]+)"', text)
    assert [name for name, _ in pictures] == NAMES
    assert all(base64.b64decode(data)[:3] == b"\xff\xd8\xff" for _, data in pictures)
    assert not re.search(r'(src|href)="(?!data:)', text)  # it needs no other file


def test_a_collection_flipped_left_to_right_is_a_problem(spleens, capsys):
    for seed, name in enumerate(NAMES):
        image, label = person(seed)
        write(spleens, name, image[::-1].copy(), label[::-1].copy())
    status, printed = check(spleens, capsys)
    assert status == 1
    assert found(printed) == [("anatomy", "", True)]  # the collection's, told once
    assert "6 of 6 cases look flipped left-right" in printed["findings"][0]["text"]


def test_what_is_wrong_with_single_cases_is_told_by_name(spleens, capsys):
    image, label = person(0)
    write(spleens, NAMES[0], image, np.where(label, 3, 0).astype(np.uint8))
    write(spleens, NAMES[1], person(1)[0], np.zeros_like(label))
    write(spleens, NAMES[2], person(2)[0], person(2)[1][:, :, :-1])
    shifted = AFFINE.copy()
    shifted[0, 3] = 30
    write(spleens, NAMES[3], *person(3), label_affine=shifted)
    truncated = spleens / "imagesTr" / f"{NAMES[4]}.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:2000])
    status, printed = check(spleens, capsys)
    told = {}
    for finding in printed["findings"]:
        if finding["problem"]:
            told.setdefault(finding["case"], []).append(finding["kind"])
    assert status == 1
    assert "labels" in told[NAMES[0]]
    assert told[NAMES[1]] == ["labels"]
    assert told[NAMES[2]] == ["grid"]
    assert told[NAMES[3]] == ["grid"]
    assert told[NAMES[4]] == ["file"]
    assert NAMES[5] not in told
    texts = [finding["text"] for finding in printed["findings"]]
    assert any(text.startswith("label values 3 (") for text in texts)
    assert any("the label map is empty" in text for text in texts)


def test_a_scan_in_training_and_in_test_is_found_whatever_its_file_looks_like(spleens, capsys):
    (image, label), other = person(0), AFFINE.copy()
    other[:3, 3] = 7, 8, 9  # another origin, another type, another compression
    for name in NAMES[1:]:
        (spleens / "imagesTr" / f"{name}.nii.gz").unlink()
        (spleens / "labelsTr" / f"{name}.nii.gz").unlink()
        write(spleens, name, image.astype(np.float32), label, other)
    packed = spleens / "imagesTr" / f"{NAMES[1]}.nii.gz"
    packed.write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()), 1))
    status, printed = check(spleens, capsys, "--split", "seeded")
    assert status == 1
    (finding,) = [f for f in printed["findings"] if f["kind"] == "duplicate"]
    assert finding["problem"]
    assert "(train)" in finding["text"]
    assert "(test)" in finding["text"]
    assert [finding["case"], *finding["others"]] == NAMES
    assert "mirrored" not in finding["text"]
    status, printed = check(spleens, capsys, "--split", "all-test")
    assert (status, found(printed)) == (0, [("duplicate", NAMES[0], False)])


def test_a_scan_in_training_and_in_its_validation_fold_is_a_problem(spleens, capsys):
    """Ablations and thresholds are scored on the fold; it was only worth a look."""
    split = split_cases(find_collections(spleens.parent), "seeded")
    fold = validation_cases(find_collections(spleens.parent), split)
    (held_out,) = fold
    other = next(name for name in NAMES if split[name] == "train" and name not in fold)
    for name in (held_out, other):
        write(spleens, name, *person(20))
    status, printed = check(spleens, capsys)
    (finding,) = [f for f in printed["findings"] if f["kind"] == "duplicate"]
    assert (status, finding["problem"]) == (1, True)
    assert f"{held_out} (validation)" in finding["text"]
    assert finding["text"].endswith("take it out of training, or the validation is void")


def test_a_scan_that_a_header_mirrors_is_the_same_scan(spleens, capsys):
    """The voxels in canonical order differ, as do those of a scan whose header is wrong."""
    (image, label), flipped = person(0), AFFINE.copy()
    flipped[0, 0] *= -1
    write(spleens, NAMES[1], image, label, flipped)
    _, printed = check(spleens, capsys, "--split", "all-test")
    (finding,) = [f for f in printed["findings"] if f["kind"] == "duplicate"]
    assert finding["text"].startswith(f"{NAMES[0]} (test) and {NAMES[1]} (test) are the same scan")
    assert finding["text"].endswith("mirrored or turned")


def test_outliers_of_spacing_and_hu_are_worth_a_look(spleens, capsys):
    write(spleens, NAMES[0], *person(0), np.diag([6.0, 6.0, 40.0, 1.0]))
    image, label = person(1)
    write(spleens, NAMES[1], np.where(image > -500, image + 180, image).astype(np.int16), label)
    _, printed = check(spleens, capsys)
    looks = {(kind, case) for kind, case, problem in found(printed) if not problem}
    assert {("spacing", NAMES[0]), ("intensity", NAMES[1])} <= looks


@pytest.mark.long
def test_processes_find_what_one_finds(spleens, capsys):
    write(spleens, NAMES[1], person(1)[0], np.zeros_like(person(1)[1]))
    _, alone = check(spleens, capsys)
    status = main(["check", "-i", f"{spleens.parent}", "--workers", "2", "--json", "-q"])
    assert (status, json.loads(capsys.readouterr().out)) == (1, alone)


def test_wrong_input_is_told_before_anything_is_read(spleens, tmp_path, capsys):
    for words, told in (
        ([], "name the folder of the collections with -i ROOT"),
        (["-i", f"{spleens.parent}", "-o", "report.pdf"], ".html"),
        (["-i", f"{spleens.parent}", "-o", f"{tmp_path}/no/report.html"], "no such folder"),
        (["-i", f"{spleens.parent}", "--workers", "-1"], "0 or more"),
        (["-i", f"{tmp_path}/nowhere"], "nowhere"),
    ):
        assert main(["check", *words]) == 2
        assert told in capsys.readouterr().err
    shutil.rmtree(spleens / "labelsTr")
    assert main(["check", "-i", f"{spleens.parent}"]) == 2
    assert "Task09_Spleen" in capsys.readouterr().err
