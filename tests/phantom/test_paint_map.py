import numpy as np
import pytest

from mots_pretrained.phantom import TORSO_LABELS, paint, torso
from mots_pretrained.phantom.paint_map import depth, tissue_of
from mots_pretrained.phantom.tissues import TISSUES

_SPACING = (6.0, 5.0, 5.0)
_NAMES = dict(enumerate(TORSO_LABELS, start=1))


def _levels(image: np.ndarray, labels: np.ndarray, names: dict[int, str]) -> dict[str, float]:
    there = {name: labels == value for value, name in names.items() if (labels == value).any()}
    return {name: float(np.median(image[mask])) for name, mask in there.items()}


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return torso(1, domain="spleen", lesions=(), spacing=_SPACING).labels


def test_tissues_have_the_levels_of_their_phase(labels):
    portal = _levels(paint(labels, _NAMES, _SPACING, phase="portal"), labels, _NAMES)
    native = _levels(paint(labels, _NAMES, _SPACING, phase="native"), labels, _NAMES)
    assert portal["right_kidney"] > portal["liver"] + 20
    assert portal["liver"] > native["liver"] + 10
    assert portal["aorta"] > 90 > 70 > native["aorta"]
    assert abs(native["right_kidney"] - native["spleen"]) < 50
    for levels in (portal, native):
        assert levels["lung"] < -600
        assert levels["bone"] > 100
        assert 15 < levels["muscle"] < 90


def test_a_body_lies_around_organs_alone(labels):
    kept = {1: "spleen", 2: "right kidney", 3: "left kidney", 6: "liver", 8: "aorta"}
    organs = np.where(np.isin(labels, list(kept)), labels, 0)
    image = paint(organs, kept, _SPACING, phase="portal")
    assert image[:, 0, 0].max() < -900  # air at the edge
    middle = image[image.shape[0] // 2]
    body = middle > -500
    assert 0.15 < body.mean() < 0.8
    assert (organs[image.shape[0] // 2] > 0).sum() < 0.6 * body.sum()
    fat = (middle > -130) & (middle < -70)
    assert fat.mean() > 0.04
    assert (image[-1] < -600).mean() > 0.2  # lungs, and air outside


def test_same_seed_same_bytes(labels):
    first, again, other = (
        paint(labels[:20], _NAMES, _SPACING, seed=seed, randomise=0.5) for seed in (3, 3, 4)
    )
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    assert np.isfinite(other).all()


def test_names_of_other_collections_are_known():
    assert tissue_of("kidney_left") == tissue_of("left kidney") == "renal_cortex"
    assert tissue_of("urinary_bladder") == "urine"
    assert tissue_of("gallbladder") == "bile"
    assert tissue_of("portal_vein_and_splenic_vein") == "portal_vein"
    assert tissue_of("postcava") == tissue_of("iliac_vena_left") == "vein"
    assert tissue_of("hepatic_vessel_tumour") == "liver_tumour"
    assert all(tissue_of(name) in TISSUES for name in TORSO_LABELS)


def test_depth_grows_inwards_from_the_box_as_well():
    np.testing.assert_allclose(depth(np.ones((1, 1, 5), bool), (9.0, 9.0, 2.0)).ravel()[0], 2.0)
    assert depth(np.ones((5, 5, 5), bool), (1.0, 1.0, 1.0))[2, 2, 2] == 3.0


def test_impossible_wishes_are_told(labels):
    with pytest.raises(KeyError, match="nothing is known of 'soul'"):
        paint(labels[:10], {1: "soul"}, _SPACING)
    with pytest.raises(KeyError, match="unknown phase 'lunar'"):
        paint(labels[:10], _NAMES, _SPACING, phase="lunar")
    with pytest.raises(ValueError, match="three axes, not 2"):
        paint(labels[0], _NAMES, _SPACING)


def test_a_real_label_map_becomes_a_scan(shared):
    from mots_pretrained.images.reading import read_labels

    volume = read_labels(shared / "data/label_maps/s0327_labels.nii.gz")
    small = volume.array[::4, ::2, ::2].astype(np.uint8)
    names = {1: "spleen", 2: "kidney_right", 3: "kidney_left", 5: "liver", 52: "aorta"}
    image = paint(small, names, (6.0, 3.0, 3.0), phase="portal")
    levels = _levels(image, small, names)
    assert levels["kidney_right"] > levels["liver"] > 40
    assert image.shape == small.shape
