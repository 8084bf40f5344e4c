from __future__ import annotations

import math

import pytest
import torch

from mots_pretrained.model.position import position_code, reference_points


def test_equation_7_by_hand() -> None:
    code = position_code((2, 3, 4), 12)  # d/3 = 4: two frequencies an axis, 1 and 1/100
    assert code.shape == (12, 2, 3, 4)
    d, h, w = 1, 2, 3
    expected = [
        value
        for position in (d, h, w)
        for frequency in (1.0, 1 / 100)
        for value in (math.sin(position * frequency), math.cos(position * frequency))
    ]
    torch.testing.assert_close(
        code[:, d, h, w], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_the_published_code_by_hand() -> None:
    code = position_code((2, 3, 4), 12, code="published")
    d, h, w = 0, 1, 3
    expected = []
    for index, size in ((d, 2), (h, 3), (w, 4)):
        x = (index + 1) / (size + 1e-6) * 2 * math.pi
        f = [10000 ** (3 * (i // 3) / 4) for i in range(4)]  # 1, 1, 1, 1000
        expected += [math.sin(x / f[0]), math.cos(x / f[1]), math.sin(x / f[2]), math.cos(x / f[3])]
    torch.testing.assert_close(code[:, d, h, w], torch.tensor(expected), rtol=0, atol=1e-5)


def test_each_axis_has_its_own_third() -> None:
    code = position_code((2, 3, 4), 6)
    for third, axis in enumerate((1, 2, 3)):
        part = code[2 * third : 2 * third + 2]
        others = [a for a in (1, 2, 3) if a != axis]
        for other in others:
            assert torch.equal(part, part.roll(1, other))
        assert not torch.equal(part, part.roll(1, axis))


@pytest.mark.parametrize("code", ["equation", "published"])
def test_width_must_divide_by_six(code: str) -> None:
    with pytest.raises(ValueError, match="divisible by 6"):
        position_code((2, 2, 2), 10, code=code)


def test_reference_points_are_the_centres_of_voxels() -> None:
    points = reference_points([(2, 3, 4), (1, 1, 2)])
    assert points.shape == (24 + 2, 3)
    # Token 1*12 + 2*4 + 3 is voxel (1, 2, 3); the order is that of sampling, (w, h, d).
    token = torch.tensor([3.5 / 4, 2.5 / 3, 1.5 / 2])
    torch.testing.assert_close(points[23], token)
    torch.testing.assert_close(points[24:], torch.tensor([[0.25, 0.5, 0.5], [0.75, 0.5, 0.5]]))


def test_published_reference_points_interchange_axes() -> None:
    points = reference_points([(2, 3, 4)], order="published")
    torch.testing.assert_close(points[23], torch.tensor([1.5 / 2, 3.5 / 4, 2.5 / 3]))  # (d, w, h)
