"""A fingerprint of voxels: blind to packing and header, not to a single voxel."""

import gzip

import numpy as np
import pytest

from mots_pretrained.images.content_hash import content_hash
from mots_pretrained.images.nifti import write_nifti
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import Volume, affine_of


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(-1024, 1500, (5, 6, 7)).astype(np.int16)


def hash_of(array, spacing=(3.0, 1.0, 1.0)):
    return content_hash(Volume.with_spacing(array, spacing))


def test_packing_and_header_make_no_difference(tmp_path, array):
    affine = affine_of((3.0, 1.0, 1.0))
    write_nifti(tmp_path / "a.nii", array, affine)
    moved = affine.copy()
    moved[:3, 3] += 100
    write_nifti(tmp_path / "b.nii.gz", array.astype(np.float32), moved, sform_code=0)
    packed = gzip.compress((tmp_path / "a.nii").read_bytes(), compresslevel=1)
    (tmp_path / "c.nii.gz").write_bytes(packed)
    turned = affine @ np.array([[-1, 0, 0, 4], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    write_nifti(tmp_path / "d.nii.gz", np.ascontiguousarray(array[::-1].transpose(0, 2, 1)), turned)
    hashes = {content_hash(read_volume(path)) for path in sorted(tmp_path.iterdir())}
    assert hashes == {hash_of(array)}


def test_a_voxel_a_flip_and_a_shape_make_a_difference(array):
    changed = array.copy()
    changed[2, 3, 4] += 1
    different = [
        array,
        changed,
        array[:, :, ::-1],
        array.reshape(5, 7, 6),
        array[None].repeat(2, 0),
    ]
    assert len({hash_of(other) for other in different}) == len(different)


def test_a_negative_zero_is_zero():
    zero = np.zeros((2, 2, 2), np.float32)
    assert hash_of(zero) == hash_of(-zero)
