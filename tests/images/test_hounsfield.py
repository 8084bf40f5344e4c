"""Values that are no CT numbers, told by air and tissue that lie elsewhere or nowhere."""

from __future__ import annotations

import numpy as np
import pytest

from mots_pretrained.images.hounsfield import why_not_hounsfield


def body(shape: tuple[int, int, int] = (8, 20, 20)) -> np.ndarray:
    """Air around a body of soft tissue with a little bone in it."""
    scan = np.full(shape, -1000, np.int16)
    scan[:, 4:16, 4:16] = 40
    scan[:, 9:11, 9:11] = 700
    return scan


def test_a_scan_of_air_and_tissue_may_be_a_ct() -> None:
    assert why_not_hounsfield(body()) == ""
    assert why_not_hounsfield(np.clip(body(), -325, 325)) == ""  # clipped by someone, still in HU


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (1024, "lie 1024 above those of air and tissue, so the rescale intercept of -1024 was not"),
        (-1024, "lie 1024 below those of air and tissue, so the rescale intercept of -1024 was ap"),
    ],
)
def test_an_intercept_left_out_or_applied_twice_is_named(offset: int, words: str) -> None:
    said = why_not_hounsfield(body() + np.int16(offset))
    assert words in said
    assert said.endswith(f"(they run from {-1000 + offset} to {700 + offset})")


@pytest.mark.parametrize("offset", [1024, -1024])
def test_padding_and_metal_do_not_hide_an_offset(offset: int) -> None:
    scan = body() + np.int16(offset)
    scan[:, 0] = -2048  # what lies outside of the field of view
    scan[0, 0, 0] = 3071
    assert "1024" in why_not_hounsfield(scan)


def test_a_large_scan_is_thinned_and_its_offset_still_seen() -> None:
    large = np.repeat(body((4, 20, 20)), 10, axis=1).repeat(10, axis=2)
    assert why_not_hounsfield(large) == ""
    assert "above" in why_not_hounsfield(large + np.int16(1024))


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-200, 3000, ""),
        (-199, 3000, "nothing lies below -200, where air and lungs are"),
        (-3000, -150, ""),
        (-3000, -151, "nothing lies above -150, where the body is"),
    ],
)
def test_a_ct_has_values_on_both_sides(low: int, high: int, words: str) -> None:
    values = np.array([[[low, high]]], np.int16)
    said = why_not_hounsfield(values)
    assert why_not_hounsfield(values, clipped=True) == ("" if "air" in words else said)
    assert said == (f"its values run from {low} to {high}, so {words}" if words else "")
