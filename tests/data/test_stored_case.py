"""One case on disk: the same bytes always, values to within half a step, classes listed."""

import numpy as np
import pytest
from noise_case import noise_case

from mots_pretrained.data import case as case_module
from mots_pretrained.data.case import Case
from mots_pretrained.data.stored_case import (
    FILES,
    Foreground,
    StoredCase,
    checksums,
    write_case,
)
from mots_pretrained.errors import UserError


def stored(folder, case):
    """Write a case and open it again."""
    folder.mkdir()
    step, classes = write_case(folder, case)
    return StoredCase.at(
        folder,
        name=case.name,
        channels=len(case.image),
        shape=case.shape,
        labelled=case.labelled,
        tasks=case.tasks,
        step=step,
        classes=classes,
    ), step


def test_a_large_class_lists_some_of_its_voxels(tmp_path, monkeypatch):
    monkeypatch.setattr(case_module, "FOREGROUND_CAP", 50)
    case = noise_case()
    back, _ = stored(tmp_path / "a", case)
    organ, tumour = back.classes
    assert (organ.channel, organ.value, organ.voxels, organ.listed) == (0, 1, 2400, 50)
    assert (tumour.channel, tumour.value, tumour.voxels, tumour.listed) == (1, 1, 3, 3)
    assert len({*back.foreground[0]} & {*np.flatnonzero(case.target[0])}) == 50
    for ours, theirs in zip(case.foreground, back.foreground, strict=True):
        np.testing.assert_array_equal(ours, theirs)  # in memory the same voxels are listed
    assert case.voxels == back.voxels == {(0, 1): 2400, (1, 1): 3}


def test_the_same_case_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        stored(tmp_path / name, noise_case())
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["foreground.npy", "image.b2nd", "target.b2nd"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_values_beyond_a_ct_take_a_wider_step(tmp_path):
    case = noise_case(scale=30.0)  # z-scored MRI has no bounds
    back, step = stored(tmp_path / "a", case)
    assert step > 1 / 4096
    np.testing.assert_allclose(np.asarray(back.image), case.image, atol=step / 2 + 1e-6)


def test_a_scan_without_labels_has_no_file_of_them(tmp_path):
    case = Case(noise_case().image, np.zeros((0, 20, 37, 41), np.uint8), (), (), "scan")
    back, _ = stored(tmp_path / "a", case)
    assert not (tmp_path / "a" / "target.b2nd").exists()
    assert (back.target.shape, back.foreground, back.name) == ((0, 20, 37, 41), (), "scan")
    np.testing.assert_allclose(back.image[:, 3:5], case.image[:, 3:5], atol=1e-3)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["cut", "flipped", "emptied", "gone"])
def test_a_file_that_is_not_as_it_was_written_is_refused(tmp_path, name, how):
    _, _ = stored(tmp_path / "a", noise_case())
    folder = tmp_path / "a"
    back = StoredCase.at(
        folder, name="volume-3", channels=1, shape=(20, 37, 41), labelled=(True, True), tasks=(0,),
        step=1 / 4096, classes=(Foreground(0, 1, 2400, 2400), Foreground(1, 1, 3, 3)),
        sums=checksums(folder),
    )  # fmt: skip
    back.check()
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    changed = {"cut": data[:-1], "flipped": data, "emptied": b""}
    if how == "gone":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(changed[how])
    with pytest.raises(UserError, match=f"{name} is damaged or gone"):
        back.check()
    with pytest.raises(UserError, match=f"{name} is damaged or gone"):
        _ = {FILES[0]: lambda: back.image[:], FILES[1]: lambda: back.target[:],
             FILES[2]: lambda: back.foreground}[name]()  # fmt: skip


def test_the_checksum_is_the_crc_32_of_the_file(tmp_path):
    (tmp_path / FILES[0]).write_bytes(b"123456789")
    assert checksums(tmp_path) == (0xCBF43926,)  # the check value of CRC-32
