"""The published post-processing, each rule on a hand-made case."""

import numpy as np
import pytest

from mots_pretrained.inference.postprocess import keep_components, postprocess


def row(text: str) -> np.ndarray:
    """A mask drawn as text, one voxel a character."""
    return np.array([[[c == "#" for c in text]]])


def text(mask: np.ndarray) -> str:
    return "".join("#" if x else "." for x in mask.ravel())


def test_eighteen_neighbours_join_at_edges_not_at_corners() -> None:
    edge = np.zeros((2, 2, 2), bool)
    edge[0, 0, 0] = edge[0, 1, 1] = True
    assert keep_components(edge, 1).sum() == 2
    corner = np.zeros((2, 2, 2), bool)
    corner[0, 0, 0] = corner[1, 1, 1] = True
    assert keep_components(corner, 1).sum() == 1


def test_largest_and_smallest() -> None:
    mask = row("##.###.#..####.")
    assert text(keep_components(mask, 1)) == "..........####."
    assert text(keep_components(mask, 2)) == "...###....####."
    assert text(keep_components(mask, None, 2)) == "...###....####."
    assert text(keep_components(mask)) == "##.###.#..####."
    assert text(keep_components(row("##.##"), 1)) == "##..."  # equally large: the first
    assert text(keep_components(row("....."), 1)) == "....."


@pytest.mark.parametrize(
    ("category", "before", "after"),
    [
        ("spleen", "##.###", "...###"),
        ("pancreas", "##.###", "...###"),
        ("kidney", "##.#.###", "##...###"),
        ("colon_tumour", "##.###", "...###"),
        ("lung_tumour", "#.##", "..##"),
        ("hepatic_vessel", "#.##", "#.##"),
        ("pancreas_tumour", "#.##", "#.##"),  # nothing to lie in was predicted
        ("gallbladder", "#.##", "#.##"),
    ],
)
def test_single_categories(category: str, before: str, after: str) -> None:
    masks = {category: row(before)}
    postprocess(masks)
    assert text(masks[category]) == after


def test_kidney_tumour_is_the_largest_one_inside_the_two_kidneys() -> None:
    masks = {
        "kidney": row("######..####..##"),
        "kidney_tumour": row(".#..##..#.....##"),
    }
    postprocess(masks)
    assert text(masks["kidney"]) == "######..####...."
    assert text(masks["kidney_tumour"]) == "....##.........."


def test_liver_tumour_is_inside_the_liver_and_over_50_voxels() -> None:
    liver = np.zeros((1, 10, 40), bool)
    liver[:, :, :30] = True
    tumour = np.zeros_like(liver)
    tumour[0, 0:5, 0:10] = True  # 50: dropped
    tumour[0, 0:3, 12:29] = True  # 51: kept
    tumour[0, :, 28:] = True  # its part beyond the liver is cut off, the rest joins the one above
    masks = {"liver": liver, "liver_tumour": tumour}
    postprocess(masks)
    expected = np.zeros_like(liver)
    expected[0, 0:3, 12:29] = True
    expected[0, :, 28:30] = True
    np.testing.assert_array_equal(masks["liver_tumour"], expected)


def test_hepatic_tumour_lies_in_the_liver_as_predicted_not_as_cleaned() -> None:
    masks = {
        "liver": row("####.##."),
        "hepatic_vessel": row("#.....##"),
        "hepatic_vessel_tumour": row("##...###"),
    }
    postprocess(masks)
    assert text(masks["liver"]) == "####...."
    assert text(masks["hepatic_vessel_tumour"]) == "##...##."
    assert text(masks["hepatic_vessel"]) == "#.....##"
