import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mots_pretrained.phantom.anatomy import _pose
from mots_pretrained.phantom.solids import rotation
from mots_pretrained.phantom.space import Grid, Lattice, Pose, spline_basis


def test_spline_weights_sum_to_one_and_know_a_node():
    basis = spline_basis(np.array([0.0, 0.25, 1.5, 2.0]), 5)
    np.testing.assert_allclose(basis.sum(axis=1), 1, rtol=1e-6)
    # A cubic B-spline at a node: 1/6, 4/6, 1/6.
    np.testing.assert_allclose(basis[0], [1 / 6, 4 / 6, 1 / 6, 0, 0], atol=1e-7)


def test_field_is_one_field_on_any_grid_and_of_unit_variance():
    field = Lattice(np.random.default_rng(0), 30.0)
    axes = [np.arange(-200.0, 200, 10)] * 3
    full = field.on_axes(axes)
    part = field.on_axes([axes[0][7:9], axes[1][3:30], axes[2][5:6]])
    np.testing.assert_allclose(part, full[7:9, 3:30, 5:6], atol=1e-5)
    assert full.std() == pytest.approx(1, abs=0.1)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_way_back_undoes_the_way_there(seed):
    rng = np.random.default_rng(seed)
    pose = _pose(rng, 1.8)
    points = rng.uniform((-250, -140, -150), (250, 80, 150), (40, 3))
    error = np.linalg.norm(pose.to_patient(pose.to_scanner(points)) - points, axis=1)
    # Millimetres. The way back is a table; bent this strongly, 200 seeds had 2.6 at worst.
    assert np.median(error) < 1.5
    assert error.max() < 4


def test_grid_knows_where_its_voxels_are():
    still = Lattice(np.random.default_rng(0), 120.0)
    pose = Pose(np.diag([1.0, 0.5, 2.0]), (still,) * 3, (0.0, 0.0, 0.0))
    grid = Grid((3, 4, 5), (2.0, 3.0, 4.0), np.array([10.0, 20.0, 30.0]), pose)
    # Centres 2, 3 and 4 mm apart around the middle, then scaled by the pose.
    assert grid.z[:, 0, 0].tolist() == pytest.approx([8, 10, 12], abs=1e-4)
    assert grid.y[0, :, 0].tolist() == pytest.approx([7.75, 9.25, 10.75, 12.25], abs=1e-4)
    assert grid.x[0, 0, :].tolist() == pytest.approx([44, 52, 60, 68, 76], abs=1e-4)
    inside = np.array([[10.0, 9.25, 60.0]])
    np.testing.assert_allclose(grid.voxels(inside), [[1, 1, 2]], atol=1e-3)


def test_box_holds_every_voxel_of_a_region_and_is_none_outside():
    pose = _pose(np.random.default_rng(3), 1.0)
    grid = Grid((20, 30, 40), (8.0, 6.0, 6.0), np.zeros(3), pose)
    low, high = np.array([-20.0, -30, 10]), np.array([25.0, 5, 60])
    box = grid.box(low, high)
    held = np.zeros(grid.shape, dtype=bool)
    held[box] = True
    place = np.stack([grid.z, grid.y, grid.x], axis=-1)
    assert held[((place > low) & (place < high)).all(axis=-1)].all()
    assert held.mean() < 0.2
    assert grid.box(low + 900, high + 900) is None


def test_rotation_is_orthonormal():
    turn = rotation((10, -20, 30))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation((90, 0, 0)) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
