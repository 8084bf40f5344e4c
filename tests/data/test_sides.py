"""Which class is which after mirroring, however left and right are written."""

import pytest

from mots_pretrained.data.sides import mirrored_classes, mirrored_tasks
from mots_pretrained.tasks import BCV_ORGANS, MOTS_TASKS, Task

SWAPPED = [
    ("left_kidney", "right_kidney"),
    ("KidneyLeft", "KidneyRight"),
    ("LKidney", "RKidney"),
    ("LK", "RK"),
    ("kidney_l", "kidney_r"),
    ("right adrenal gland", "left adrenal gland"),
    ("LEFT-LUNG", "RIGHT-LUNG"),
    ("Kidney-L", "Kidney-R"),
    ("Kidney (left)", "Kidney (right)"),
    ("leftkidney", "rightkidney"),
    ("kidneyleft", "kidneyright"),
    ("LEFTKIDNEY", "RIGHTKIDNEY"),
    ("lkidney", "rkidney"),
    ("kidneyl", "kidneyr"),
    ("LKIDNEY", "RKIDNEY"),
    ("ltkidney", "rtkidney"),
    ("lt_kidney", "rt_kidney"),
    ("Lt. Lung", "Rt. Lung"),
    ("Lung, Lt", "Lung, Rt"),
    ("LtLung", "RtLung"),
    ("ctx-lh-cuneus", "ctx-rh-cuneus"),
    ("lh.hippocampus", "rh.hippocampus"),
    ("lhhippocampus", "rhhippocampus"),
    ("niere_links", "niere_rechts"),
    ("linke Niere", "rechte Niere"),
    ("Linker Lungenflügel", "Rechter Lungenflügel"),
    ("NiereLi", "NiereRe"),
    ("linkernier", "rechternier"),
    ("rein gauche", "rein droit"),
    ("rein_G", "rein_D"),
    ("poumon_gauche", "poumon_droite"),
    ("riñón izquierdo", "riñón derecho"),
    ("riñon izq.", "riñon der."),
    ("rim_esquerdo", "rim_direito"),
    ("rene sinistro", "rene destro"),
    ("rene_sx", "rene_dx"),
    ("ren sinister", "ren dexter"),
    ("vänster njure", "höger njure"),
    ("venstre nyre", "højre nyre"),
    ("nerka lewa", "nerka prawa"),
    ("levá ledvina", "pravá ledvina"),
    ("левая почка", "правая почка"),
    ("ліва нирка", "права нирка"),
    ("左肾", "右肾"),
    ("왼쪽 신장", "오른쪽 신장"),
    ("sol böbrek", "sağ böbrek"),
    ("rib_left_1", "rib_right_1"),
    ("1_left", "1_right"),
    ("left", "right"),
    ("L", "R"),
    ("Left kidney", "right_kidney"),  # not written alike
    ("kidney_left", "r_kidney"),
    ("left_lung_upper_lobe", "lung_upper_lobe_right"),
    ("L1 rib", "R1 rib"),
    ("lijevi bubreg", "desni bubreg"),
    ("thận trái", "thận phải"),
    ("optic nerve OS", "optic nerve OD"),
]


@pytest.mark.parametrize("pair", SWAPPED)
def test_left_and_right_change_places_however_they_are_written(pair):
    """Case 13: each of these was left in its place, while the patch was mirrored."""
    assert mirrored_classes(pair) == (1, 0)
    assert mirrored_classes(("liver", *pair, "spleen")) == (0, 2, 1, 3)


@pytest.mark.parametrize(
    "names",
    [
        ("RUL", "LUL"),
        ("RUL", "RML", "RLL", "LUL", "LLL"),
        ("lung_rul", "lung_rll", "lung_lul", "lung_lll"),
        ("LON", "RON", "chiasm"),
        ("liver", "LKI", "RKI"),
        ("LV", "RV"),
        ("GTL", "GTR"),
    ],
)
def test_codes_that_may_be_sides_cannot_be_told(names):
    """Each was left in its place, while the patch was mirrored."""
    assert mirrored_classes(names) is None


@pytest.mark.parametrize(
    "names", [("RUL", "RML", "RLL"), ("liver", "ivc", "svc"), ("LAD", "LCX"), ("gtv", "ctv", "ptv")]
)
def test_codes_of_one_side_or_none_stay(names):
    assert mirrored_classes(names) == (*range(len(names)),)


@pytest.mark.parametrize(
    "name",
    [
        "left_breast", "leftbreast", "Breast-R", "lt breast", "lh.cortex", "niere_links",
        "rein gauche", "左肾", "левая почка", "breastleft", "LBreast", "vena sinistra",
    ],
)  # fmt: skip
def test_a_side_without_its_counterpart_cannot_be_told(name):
    assert mirrored_classes((name, "liver")) is None
    assert mirrored_classes((name,)) is None


@pytest.mark.parametrize(
    "names",
    [
        ("liver", "class_2"), ("class_1", "class_2"), ("Segment_1", "Segment_2"),
        ("Class 1", "Class 2"), ("Label 1", "Label 2"), ("organ1", "organ2"), ("1", "2"),
        ("01", "02"), ("label-001", "label-002"), ("Structure #1", "Structure #2"),
        ("Klasse 1", "Klasse 2"), ("étiquette 1", "étiquette 2"), ("标签1", "标签2"),
        ("Segment_1 (copy)", "Segment_2 (copy)"), ("Segment One", "Segment Two"),
        ("organ_a", "organ_b"), ("Unknown structure 1", "Unknown structure 2"), ("x1", "x2"),
        ("class_i", "class_ii"), ("(1)", "(2)"),
    ],
)  # fmt: skip
def test_classes_that_are_only_numbered_cannot_be_told(names):
    assert mirrored_classes(names) is None


@pytest.mark.parametrize(
    "names",
    [
        ("liver", "spleen"), ("copyright", "cleft"), ("bright_spot", "upright"),
        ("liver", "kidney", "lung", "rectum", "lens", "larynx", "rib", "femoral_vessel"),
        ("whole_tumour", "tumour_core", "enhancing_tumour"), ("organ", "tumour"),
        ("vertebrae_L1", "vertebrae_L2", "vertebrae_T12"), ("lymph_node", "retina"),
        ("left_and_right_kidney", "liver"), ("both lungs (left, right)", "heart"),
        ("portal_and_splenic_vein", "inferior_vena_cava"), ("Leber", "Lunge", "Milz", "Rektum"),
        ("foie", "rate", "pancréas"), ("PZ", "TZ"), ("re", "aorta"), ("sinus", "dextran"),
    ],
)  # fmt: skip
def test_what_has_no_side_stays(names):
    assert mirrored_classes(names) == tuple(range(len(names)))


def test_bcv_kidneys_and_adrenals_change_places():
    order = mirrored_classes(BCV_ORGANS)
    assert order == (0, 2, 1, 3, 4, 5, 6, 7, 8, 9, 10, 12, 11)
    assert [order[place] for place in order] == list(range(13))


def test_two_counterparts_of_one_class_cannot_be_told():
    assert mirrored_classes(("kidney_left", "right kidney", "rkidney")) is None


def test_tasks_change_places_whole():
    assert mirrored_tasks(MOTS_TASKS) == tuple(range(7))
    lungs = (
        Task("left_lung", "left_lung", "left_lung_tumour"),
        Task("liver", "liver", None),
        Task("right_lung", "right_lung", "right_lung_tumour"),
    )
    assert mirrored_tasks(lungs) == (2, 1, 0)
    assert mirrored_tasks(lungs[:2]) is None
    other = Task("right_lung", "right_lung", None)  # does not label what its counterpart does
    assert mirrored_tasks((lungs[0], other)) is None
