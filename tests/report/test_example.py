"""A slice of a case held out: which one, what of it is kept, and that it is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from mots_pretrained.report.example import EXAMPLE, Example, draw_example

NAMES = ("organ", "tumour")


def example(*, exclusive: bool) -> Example:
    """An organ on slices 1 to 3 and a tumour within it on slice 2."""
    image = np.linspace(-1, 1, 5 * 6 * 7, dtype=np.float32).reshape(5, 6, 7)
    masks = np.zeros((2, 5, 6, 7), np.uint8)
    masks[0, 1:4, 1:5, 1:5] = 1
    masks[1, 2, 2:4, 2:4] = 1
    truth = (masks[:1] + masks[1:]) if exclusive else masks
    found = np.roll(truth, 1, axis=3)
    return Example.of(
        *(image, truth, found), exclusive=exclusive, spacing=(3.0, 2.0, 1.0), names=NAMES, step=40
    )


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_slice_shows_every_class(exclusive):
    chosen = example(exclusive=exclusive)
    assert np.bincount(chosen.truth.ravel()).tolist() == [26, 12, 4]  # the tumour over the organ
    np.testing.assert_array_equal(chosen.found, np.roll(chosen.truth, 1, axis=1))
    assert chosen.image[0, 0] == pytest.approx(-1 + 2 * 84 / 209)
    assert chosen.spacing == (2.0, 1.0)


def test_it_is_kept_and_names_nothing_but_classes(tmp_path):
    kept = example(exclusive=True)
    kept.save(tmp_path)
    back = Example.read(tmp_path)
    assert (back.names, back.step, back.spacing) == (NAMES, 40, (2.0, 1.0))
    np.testing.assert_array_equal(back.truth, kept.truth)
    np.testing.assert_allclose(back.image, kept.image, atol=1e-3)
    with np.load(tmp_path / EXAMPLE) as file:
        assert {*file} == {"image", "truth", "found", "spacing", "names", "step"}


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 no zip", b"nothing"])
def test_what_is_no_example_is_none(tmp_path, content):
    if content is not None:
        (tmp_path / EXAMPLE).write_bytes(content)
    assert Example.read(tmp_path) is None


def test_a_wrong_shape_is_none(tmp_path):
    kept = example(exclusive=True)
    Example(kept.image, kept.truth[:2], kept.found, (1.0, 1.0), NAMES, 0).save(tmp_path)
    assert Example.read(tmp_path) is None


def test_truth_and_prediction_are_drawn_alike_but_for_their_labels(tmp_path):
    from matplotlib.image import imread

    pictures = []
    for which in ("truth", "found"):
        draw_example(example(exclusive=True), which, tmp_path / "a.png")
        pictures.append(imread(tmp_path / "a.png"))
    assert pictures[0].shape == pictures[1].shape
    assert (pictures[0] != pictures[1]).any()
