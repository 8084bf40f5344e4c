import numpy as np

from mots_pretrained.phantom import deposits, torso

_WINDOW = {"shape": (32, 48, 48), "spacing": (4.0, 4.0, 4.0), "focus": "gallbladder"}


def test_dense_things_change_the_image_and_no_label(monkeypatch):
    for name in ("_GALLSTONES", "_BILE_STENT", "_URETER_STENT", "_CLIPS"):
        monkeypatch.setattr(deposits, name, 0.0)
    plain = torso(5, phase="native", **_WINDOW)
    for name in ("_GALLSTONES", "_BILE_STENT", "_URETER_STENT", "_CLIPS"):
        monkeypatch.setattr(deposits, name, 1.0)
    dense = torso(5, phase="native", **_WINDOW)
    np.testing.assert_array_equal(dense.labels, plain.labels)
    higher = dense.image - plain.image
    assert (higher > 100).sum() > 10
    assert np.median(higher) == 0
