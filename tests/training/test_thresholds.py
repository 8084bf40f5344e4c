"""Choosing thresholds: hand-counted cases, a network with a known best one, and what is written."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mots_pretrained.adaptation.ensemble import Ensemble
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.cli import DONE, main
from mots_pretrained.data.case import Case
from mots_pretrained.methods import METHODS
from mots_pretrained.networks import load
from mots_pretrained.tasks import IGNORED, Task, task_named
from mots_pretrained.training import thresholds as module
from mots_pretrained.training.score import score_phantoms
from mots_pretrained.training.thresholds import (
    CANDIDATES,
    Choice,
    as_text,
    choose_on_phantoms,
    choose_on_prepared,
    set_thresholds,
)


def choice(*cases, name="spleen", voxel=0.5):
    """A choice of cases given as (probabilities, truth)."""
    made = Choice(name)
    for probabilities, truth in cases:
        made.add(np.array(probabilities, np.float32), np.array(truth, bool), voxel)
    return made


def test_a_case_is_scored_at_every_candidate():
    case = ([0.9, 0.62, 0.62, 0.3, 0.0], [1, 1, 0, 1, 0])
    one = choice(case)
    # above 0.25 four of which three are right, truth 3; above 0.5 three and two; above 0.7 one
    assert one.at(0.25) == (pytest.approx(6 / 7), None, None)
    assert one.at(0.5) == (pytest.approx(4 / 6), None, None)
    assert one.at(0.7) == (pytest.approx(2 / 4), None, None)
    assert one.at(0.95) == (0.0, None, None)
    assert choice(*[case] * 3).threshold == 0.25  # of 0.05 to 0.25, as good, the nearest to 0.5
    exact = choice(([0.5, 0.5], [1, 1]))
    assert exact.at(0.5)[0] == 0.0  # a voxel must lie above, as everywhere
    assert exact.at(0.45)[0] == 1.0


def test_false_volumes_weigh_against_dice():
    with_it = [([0.9, 0.6], [1, 1])] * 3  # Dice 1 up to 0.55, 2/3 up to 0.85
    clean_above = [([0.6, 0.0], [0, 0])] * 12  # clean from 0.6 on
    both = choice(*with_it, *clean_above)
    assert both.at(0.5) == (1.0, 0.0, 0.5)
    assert both.at(0.6) == (pytest.approx(2 / 3), 1.0, 0.0)
    assert both.threshold == 0.6  # (3 * 2/3 + 12) / 15 is more than 3 / 15
    assert choice(*with_it).threshold == 0.5


def test_one_half_stays_unless_the_gain_is_more_than_twice_its_error():
    better, worse = ([0.6, 0.4], [1, 1]), ([0.6, 0.4], [1, 0])
    # below 0.4 Dice is 1 in place of 2/3, and 2/3 in place of 1
    assert choice(*[better] * 8, worse).threshold == 0.35  # mean 0.259, error 0.074
    assert choice(*[better] * 4, worse).threshold == 0.5  # mean 0.2, error 0.133
    assert choice(better, worse).threshold == 0.5
    assert choice(*[better] * 3).threshold == 0.35
    assert Choice("spleen").threshold == 0.5


def test_fewer_than_three_cases_choose_nothing():
    """One case chose 0.99 for three tumours: the spread of one gain was taken for none."""
    better = ([0.6, 0.4], [1, 1])
    for count in (1, 2):
        few = choice(*[better] * count)
        assert few.threshold == 0.5
        last = as_text([few, choice(*[better] * 3, name="liver")]).splitlines()[-1]
        assert last == "0.5 is kept of what fewer than 3 cases hold: spleen"


def test_cases_without_the_category_alone_choose_nothing():
    """Healthy cases chose 0.98, at which nothing shows that a lesion would be left."""
    assert choice(*[([0.9, 0.6], [0, 0])] * 4).threshold == 0.5


class Waver:
    """A network that is sure of nothing: every voxel has the logit of the probability given."""

    def __init__(self, config, probability):
        self.config, self.logit = config, float(np.log(probability / (1 - probability)))

    def __call__(self, image, *, tasks):
        return torch.full((len(image), len(tasks), 2, *image.shape[2:]), self.logit)


def test_phantoms_choose_and_scores_follow(tiny):
    net = Waver(tiny, 0.72)  # finds everything everywhere
    choices = choose_on_phantoms(net, cases=7, seeds=(100,))
    assert [one.category for one in choices] == [n for t in tiny.tasks for n in t.categories]
    found = {one.category: one for one in choices}
    plain = score_phantoms(net, cases=7, seeds=(100,), everywhere=True)
    for name, one in found.items():
        dice, clean, false_ml = one.at(0.5)
        assert dice == pytest.approx(plain.mean(name), nan_ok=True)
        assert clean == plain.clean_share(name)
        assert false_ml == pytest.approx(plain.false_volume(name))
    assert (found["colon_tumour"].holding, found["colon_tumour"].threshold) == (1, 0.5)
    net.config = dataclasses.replace(tiny, thresholds={"colon_tumour": 0.75})
    after = score_phantoms(net, cases=7, seeds=(100,), everywhere=True)
    assert after.clean_share("colon_tumour") == 1.0
    assert after.mean("colon_tumour") in (None, 0.0)
    assert after.mean("liver") == plain.mean("liver")


def test_an_added_organ_has_no_threshold_of_phantoms(tiny):
    tasks = (task_named("spleen"), Task("aorta", "aorta", None, (8,)))
    net = Waver(dataclasses.replace(tiny, tasks=tasks), 0.72)
    with pytest.warns(UserWarning, match="no truth for aorta"):
        choices = choose_on_phantoms(net, cases=1, seeds=(100,))
    assert [one.category for one in choices] == ["spleen"]


def test_classes_are_chosen_by_their_share_against_the_largest_other():
    probabilities = np.array([[0.5, 0.1], [0.3, 0.8], [0.2, 0.1]], np.float16)[:, :, None, None]
    shares = module._against_others(probabilities)[..., 0, 0]
    np.testing.assert_allclose(shares, [[0.3 / 0.8, 0.8 / 0.9], [0.2 / 0.7, 0.1 / 0.9]], atol=1e-3)
    tie = module._against_others(np.array([0.4, 0.4, 0.2], np.float16)[:, None, None, None])
    assert tie.ravel()[0] == 0.5


def test_a_prepared_split_chooses_where_it_is_labelled(tiny):
    tasks = (task_named("spleen"),)
    target = np.zeros((2, 8, 8, 8), np.uint8)
    target[0, :4], target[0, 4:6] = 1, IGNORED
    labelled = np.array([True, False])
    case = Case(np.zeros((1, 8, 8, 8), np.float32), target, labelled=labelled, name="one")
    record = SimpleNamespace(
        identifier="one", collection="msd", task="spleen", spacing=(10.0, 10.0, 10.0)
    )
    prepared = SimpleNamespace(
        folder="there",
        tasks=tasks,
        check_contract=lambda contract: None,
        select=lambda **how: [record] * 3,
        read=lambda record: case,
    )
    (one,) = choose_on_prepared(Waver(tiny, 0.4), prepared)
    assert one.category == "spleen"
    assert one.at(0.35)[0] == pytest.approx(2 * 4 / (6 + 4))  # the ignored planes count nowhere
    assert one.threshold == 0.35
    assert one.cases[0].predicted_ml[CANDIDATES.index(0.35)] == 6 * 64


def test_a_tumour_that_is_a_class_of_its_own_is_none_of_its_organs(tiny):
    """The truth of a liver holds its tumour, of which a segmenter's liver is free."""
    target = np.zeros((2, 8, 8, 8), np.uint8)
    target[0, :4], target[1, 2:4] = 1, 1
    image = target.sum(axis=0, keepdims=True).astype(np.float32)  # 1 liver, 2 tumour
    case = Case(image, target, labelled=np.array([True, True]), name="one")
    record = SimpleNamespace(
        identifier="one", collection="lits", task="liver", spacing=(10.0, 10.0, 10.0)
    )
    prepared = SimpleNamespace(
        folder="there",
        tasks=(task_named("liver"),),
        check_contract=lambda contract: None,
        select=lambda **how: [record],
        read=lambda record: case,
    )
    classes = ("liver", "liver_tumour")
    config = dataclasses.replace(tiny, architecture="segmenter", classes=classes)

    class Sure:
        def __call__(self, image):
            return torch.cat([(image.round() == value).float() * 20 for value in range(3)], dim=1)

    net = Sure()
    net.config = config
    found = {one.category: one.at(0.5)[0] for one in choose_on_prepared(net, prepared)}
    assert found == {"liver": 1.0, "liver_tumour": 1.0}


def test_they_are_written_into_the_folder_and_its_folds(tmp_path, tiny):
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "one")
    better, same = choice(*[([0.4], [1])] * 3), choice(*[([0.9], [1])] * 3, name="liver")
    set_thresholds(tmp_path / "one", [choice(*[([0.4], [1])] * 3, name="liver")])
    config = set_thresholds(tmp_path / "one", [better, same])
    assert config.thresholds == {"spleen": 0.35}  # liver's is 0.5 again
    assert load(tmp_path / "one").config == config
    torch.manual_seed(0)
    members = [Segmenter.from_scratch(tiny, classes=("spleen",)) for _ in range(2)]
    Ensemble(members).save_pretrained(tmp_path / "folds")
    set_thresholds(tmp_path / "folds", [better])
    assert load(tmp_path / "folds").config.thresholds == {"spleen": 0.35}
    with pytest.raises(FileNotFoundError, match="holds no config"):
        set_thresholds(tmp_path, [better])
    assert "spleen" in as_text([better])
    assert as_text([better]).splitlines()[1].split() == [
        *("spleen", "3", "0", "0.35", "1.000", "-", "-", "0.000", "-", "-")
    ]


def test_by_the_command(tmp_path, tiny, capsys):
    net = METHODS["transdodnet"](tiny).eval()
    net.save_pretrained(tmp_path / "net")
    words = ["evaluate", "-i", "phantoms", "-m", str(tmp_path / "net"), "--choose-thresholds"]
    words += ["--cases", "1", "--seeds", "100", "--overlap", "0", "--json"]
    assert main(words) == DONE
    told = json.loads(capsys.readouterr().out)["thresholds"]
    assert set(told) == {name for task in tiny.tasks for name in task.categories}
    own = json.loads((tmp_path / "net" / "config.json").read_text())["thresholds"]
    assert own == {name: value for name, value in told.items() if value != 0.5}
    words[words.index("-m") + 1] = "transdodnet.phantom"
    assert main(words) == 2
    assert "thresholds are written into a model's folder" in capsys.readouterr().err
    assert main(["evaluate", "-i", "x", "--choose-thresholds"]) == 2
