"""Fine-tuning: the loss falls, parts stay frozen, the best weights are kept, sides stay sides."""

import dataclasses

import numpy as np
import peft
import pytest
import torch

from mots_pretrained.adaptation.fit_head import fit_head
from mots_pretrained.adaptation.freezing import freeze, parts
from mots_pretrained.adaptation.lora import add_lora
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.case import Case
from mots_pretrained.errors import UserError
from mots_pretrained.losses import dice_ce
from mots_pretrained.methods import METHODS
from mots_pretrained.training import finetune as module
from mots_pretrained.training.finetune import (
    check_recipe,
    finetune,
    patch_stream,
    prepare,
    unfreezing,
)
from mots_pretrained.training.launch import accelerated
from mots_pretrained.training.recipe import Recipe, Run
from mots_pretrained.training.validation import score_case


def case_of(seed):
    """A bright box in noise; the box is class 1."""
    rng = np.random.default_rng(seed)
    image = rng.normal(-0.5, 0.1, (1, 36, 36, 36)).astype(np.float32)
    target = np.zeros((1, 36, 36, 36), np.uint8)
    z, y, x = rng.integers(2, 14, 3)
    target[0, z : z + 20, y : y + 20, x : x + 20] = 1
    image[target == 1] += 1
    return Case(image, target, name=f"case {seed}")


@pytest.fixture
def segmenter(tiny):
    torch.manual_seed(0)
    return Segmenter.from_scratch(tiny, classes=("box",))


def test_it_learns_a_box_and_keeps_its_best_weights(segmenter):
    seen = []
    history = finetune(
        segmenter,
        [case_of(0), case_of(1)],
        Recipe(steps=40, rate=3e-3, validate_every=20),
        validation=[case_of(2)],
        run=Run(on_log=seen.append),
    )
    assert [now.step for now in seen] == list(range(10, 41, 10))
    assert history.rows == seen
    assert seen[-1].losses["total"] < 0.6 * seen[0].losses["total"]
    assert [step for step, _ in history.validations] == [20, 40]
    means = [table.mean_dice for _, table in history.validations]
    assert max(means) > 0.7
    assert history.best.mean_dice == max(means)
    assert history.best_step == 20 * (1 + int(np.argmax(means)))
    assert not segmenter.training


@pytest.mark.parametrize("freeze", [(), ("encoder",), ("encoder", "transformer", "decoder")])
def test_frozen_parts_stay_as_they_are(segmenter, freeze):
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    finetune(segmenter, [case_of(0)], Recipe(steps=2, freeze=freeze))
    moved = {n.split(".")[1] for n, v in segmenter.state_dict().items()
             if n.startswith("backbone") and not torch.equal(v, before[n])}  # fmt: skip
    assert moved == {"encoder", "transformer", "decoder"} - {*freeze}
    assert not torch.equal(segmenter.head.weight, before["head.weight"])
    assert all(parameter.requires_grad for parameter in segmenter.parameters())


@pytest.mark.parametrize("recipe", [Recipe(steps=2), Recipe(steps=2, unfreeze=1)])
def test_what_is_frozen_beforehand_stays_so_and_what_a_recipe_freezes_opens_again(
    segmenter, recipe
):
    names = freeze(segmenter, ["encoder"])
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    finetune(segmenter, [case_of(0)], dataclasses.replace(recipe, freeze=("transformer",)))
    moved = {name for name, value in segmenter.state_dict().items()
             if not torch.equal(value, before[name])}  # fmt: skip
    assert {n.removeprefix("backbone.").split(".")[0] for n in moved} == {"decoder", "head"}
    assert {n for n, p in segmenter.named_parameters() if not p.requires_grad} == {*names}
    freeze(segmenter, ["encoder", "transformer", "decoder"])
    with pytest.raises(ValueError, match="all parts are frozen"):
        finetune(segmenter, [case_of(0)], Recipe(steps=1, freeze=("head",)))


def test_adapters_learn_and_what_they_stand_on_stays(segmenter):
    add_lora(segmenter, ["transformer", "encoder"], rank=2)
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    finetune(segmenter, [case_of(0)], Recipe(steps=2, freeze=("encoder",)))
    moved = {name for name, value in segmenter.state_dict().items()
             if not torch.equal(value, before[name])}  # fmt: skip
    assert any(".lora_B" in name for name in moved)
    assert all(
        name.startswith("head.modules_to_save.")
        or (".lora_" in name and name.startswith("backbone.transformer."))
        for name in moved
    )


def test_adapters_that_are_frozen_beforehand_stay_so_however_they_are_passed(segmenter):
    adapted = add_lora(segmenter, ["transformer", "encoder"], rank=2)
    freeze(segmenter, ["encoder"])
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    finetune(adapted, [case_of(0)], Recipe(steps=2))
    moved = {name for name, value in segmenter.state_dict().items()
             if not torch.equal(value, before[name])}  # fmt: skip
    assert any(name.startswith("backbone.transformer.") for name in moved)
    assert not any(name.startswith("backbone.encoder.") for name in moved)


@pytest.fixture
def pretrained(tiny, tmp_path):
    torch.manual_seed(0)
    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    return tmp_path / "start"


def fresh(pretrained, head="levels"):
    torch.manual_seed(1)
    return Segmenter.from_pretrained(pretrained, classes=("box",), head=head)


def test_adapters_that_were_saved_can_be_trained_on(pretrained, tmp_path):
    """Their head came with them; only one that nothing has taught is to be fitted before."""
    begun = fresh(pretrained)
    begun.head_is_new = False
    adapted = add_lora(begun, ["transformer"], rank=2)
    finetune(adapted, [case_of(0)], Recipe(steps=2))
    adapted.save_pretrained(tmp_path / "adapters")
    torch.manual_seed(2)  # another random head below
    model = Segmenter.from_pretrained(pretrained, classes=("box",), head="levels")
    back = peft.PeftModel.from_pretrained(model, tmp_path / "adapters", is_trainable=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    finetune(back, [case_of(0)], Recipe(steps=2))
    moved = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert {n.split(".")[0] for n in moved} == {"backbone", "head"}
    assert all(".lora_" in n or n.startswith("head.modules_to_save.") for n in moved)
    fitted_never = fresh(pretrained)
    with pytest.raises(UserError, match="fit its head before add_lora"):
        finetune(add_lora(fitted_never, ["transformer"], rank=2), [case_of(0)], Recipe(steps=2))


@pytest.mark.parametrize("head", ["linear", "levels"])
def test_the_head_alone_leaves_the_backbone_and_is_the_same_again(pretrained, head):
    results = []
    for _ in range(2):
        net = fresh(pretrained, head)
        before = {name: value.clone() for name, value in net.state_dict().items()}
        recipe = Recipe(steps=50, train="head", seed=3)
        history = finetune(net, [case_of(0)], recipe, validation=[case_of(2)])
        assert (history.rows, history.best_step, history.complete) == ([], 0, True)
        assert [step for step, _ in history.validations] == [0]
        assert history.fitted["voxels"] > 0
        after = net.state_dict()
        moved = {
            name.split(".")[0] for name, v in after.items() if not torch.equal(v, before[name])
        }
        assert moved == {"head"}
        results.append(after)
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


def test_a_new_head_is_fitted_before_all_weights_learn_and_an_old_one_is_not(
    pretrained, segmenter, monkeypatch
):
    fitted = []

    def fit(net, cases, **options):
        fitted.append(net)
        return fit_head(net, cases, **{**options, "steps": 20})

    monkeypatch.setattr(module, "fit_head", fit)
    net = fresh(pretrained)
    history = finetune(net, [case_of(0)], Recipe(steps=10, batch=1), validation=[case_of(1)])
    assert fitted == [net]
    assert [step for step, _ in history.validations] == [0, 10]  # the fitted head may be the best
    again = finetune(net, [case_of(0)], Recipe(steps=1, batch=1))
    assert again.fitted is None
    finetune(fresh(pretrained), [case_of(0)], Recipe(steps=1, batch=1, fit_head=False))
    finetune(segmenter, [case_of(0)], Recipe(steps=1, batch=1))  # from random weights
    assert fitted == [net]


def test_the_main_process_tells_whether_a_head_was_fitted_before(pretrained, tmp_path, monkeypatch):
    """Another node may not see its checkpoint yet; processes that part ways wait for each other."""
    seen = []

    def on_main(accelerator, work):
        seen.append(work())
        return True

    monkeypatch.setattr(module, "on_main", on_main)
    cases, recipe, run = [case_of(0)], Recipe(steps=2), Run()
    with accelerated(run, "float32") as accelerator:
        _, watch = prepare(accelerator, fresh(pretrained), cases, recipe, run, folder=tmp_path)
    assert seen == [False]
    assert watch.kept["fitted"] is None


def test_the_same_seed_gives_the_same_weights(tiny):
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        net = Segmenter.from_scratch(tiny, classes=("box",))
        finetune(net, [case_of(0), case_of(1)], Recipe(steps=3, seed=4))
        results.append(net.state_dict())
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


def test_mirroring_spares_sides(tiny):
    """Left and right change places where both have a class; one alone is never mirrored."""
    for classes, mirrored, sides in (
        (("liver",), (2,), (0,)),
        (("left_kidney",), (), None),
        (("class_1",), (), None),
        (("left_kidney", "liver", "right_kidney"), (2,), (2, 1, 0)),
    ):
        net = Segmenter.from_scratch(tiny, classes=classes)
        stream = patch_stream(net, [case_of(0)], Recipe(steps=1, patch=(16, 32, 32)))
        assert (stream.sampling.augmentation.mirror, stream.sampling.sides) == (mirrored, sides)
        assert next(stream.batches(1)).image.shape == (1, 1, 16, 32, 32)
    plain = Recipe(steps=1, augmentation="none")
    assert patch_stream(net, [case_of(0)], plain).sampling.augmentation is None


def test_wrong_input_is_told(segmenter, tiny):
    with pytest.raises(ValueError, match="at least one labelled case"):
        finetune(segmenter, [])
    two = Case(np.zeros((2, 8, 8, 8), np.float32), np.zeros((1, 8, 8, 8), np.uint8), name="x")
    with pytest.raises(ValueError, match="x has 2 channels, the network 1"):
        finetune(segmenter, [two])
    high = case_of(0)
    high.target[:] = 5
    with pytest.raises(ValueError, match="case 0 has class 5; the network has 1 classes"):
        finetune(segmenter, [high])
    with pytest.raises(ValueError, match="labels has no part in fine-tuning"):
        finetune(segmenter, [case_of(0)], Recipe(steps=1, labels="complete"))
    with pytest.raises(ValueError, match="no part 'neck'; it has encoder"):
        finetune(segmenter, [case_of(0)], Recipe(steps=1, freeze=("neck",)))


def test_a_class_that_nobody_labels_is_refused(tiny):
    net = Segmenter.from_scratch(tiny, classes=("a", "b"))
    whole = case_of(0)
    some = Case(whole.image, whole.target, (True, False), name="some")
    with pytest.raises(ValueError, match="none of the 1 training cases labels b"):
        finetune(net, [some], Recipe(steps=1))


def test_what_a_case_does_not_label_reaches_the_loss(tiny, monkeypatch):
    """Cases of which one says all, and one names its classes, go into one batch."""
    seen = []

    def loss(logits, target, *, exclusive, labelled):
        seen.append(None if labelled is None else sorted(labelled.tolist()))
        return dice_ce(logits, target, exclusive=exclusive, labelled=labelled)

    monkeypatch.setattr(module, "dice_ce", loss)
    net = Segmenter.from_scratch(tiny, classes=("box", "other"))
    whole, some = case_of(0), case_of(1)
    some = Case(some.image, some.target, (True, False), name="some")
    recipe = Recipe(steps=1, batch=2, patches_per_case=1)
    finetune(net, [whole, whole], recipe)
    finetune(net, [whole, some, whole, some], dataclasses.replace(recipe, batch=4))
    both = [[True, False], [True, True]]
    assert seen == [None, sorted(2 * both)]


def test_mirrored_labels_of_one_side_are_those_of_the_other(tiny):
    net = Segmenter.from_scratch(tiny, classes=("left_kidney", "liver", "right_kidney"))
    one = case_of(0)
    some = Case(one.image, one.target, (True, True, False), name="some")
    stream = patch_stream(net, [some], Recipe(steps=1, patch=(16, 32, 32)))
    found = stream.batches(1)
    seen = {tuple(next(found).labelled[0].tolist()) for _ in range(24)}
    assert seen == {(True, True, False), (False, True, True)}


def test_parts_open_one_after_another(segmenter):
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    settings = Recipe(steps=3, batch=1, unfreeze=2, freeze=("transformer",))
    finetune(segmenter, [case_of(0)], settings)
    moved = {n.removeprefix("backbone.").split(".")[0] for n, v in segmenter.state_dict().items()
             if not torch.equal(v, before[n])}  # fmt: skip
    assert moved == {"head", "decoder"}  # the encoder's turn would come at step 4
    plan = unfreezing(segmenter, Recipe(steps=1, unfreeze=2, freeze=("transformer",)))
    assert (plan.opened(1), plan.opened(2)) == ((), ("decoder",))
    assert plan.opened(4) == ("decoder", "encoder")


def test_a_stage_that_stays_frozen_does_not_open_with_its_part(segmenter):
    plan = unfreezing(segmenter, Recipe(steps=1, unfreeze=2, freeze=("encoder.stage1",)))
    there = parts(segmenter)
    assert {*there["encoder.stage1"]} < {*plan.apply(segmenter, 0)}
    assert plan.apply(segmenter, 6) == there["encoder.stage1"]  # all else has opened


def test_rates_fall_towards_the_input(segmenter, monkeypatch):
    made = []

    def remember(groups, rate, **options):
        made.append(torch.optim.SGD(groups, rate))
        return made[0]

    monkeypatch.setattr(torch.optim, "AdamW", remember)
    finetune(segmenter, [case_of(0)], Recipe(steps=1, batch=1, rate=1e-3, layer_decay=0.5))
    rates = {group["lr"] for group in made[0].param_groups}
    assert max(rates) == pytest.approx(1e-3)
    assert min(rates) < 1e-4


def test_thresholds_decide_scores_and_end_with_the_weights_that_they_are_of(segmenter):
    case = case_of(0)
    case.target[:] = 1  # all of it is the box
    plain = score_case(segmenter.eval(), case)["box"]["dice"]
    share = {}
    for threshold in (0.001, 0.999):
        segmenter.config = dataclasses.replace(segmenter.config, thresholds={"box": threshold})
        share[threshold] = score_case(segmenter, case)["box"]["dice"]
    assert share[0.001] == 1.0 >= plain
    assert share[0.999] == 0.0
    finetune(segmenter, [case_of(0)], Recipe(steps=1, fit_head=False))
    assert segmenter.config.thresholds == {}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"train": "head", "fit_head": False}, "fit_head"),
        ({"train": "head", "rate": 0.1}, "rate"),
    ],
)
def test_what_fine_tuning_would_not_look_at_is_refused(changes, field):
    with pytest.raises(UserError, match=f"{field} has no part in"):
        check_recipe(Recipe(steps=1, **changes))


@pytest.mark.parametrize(
    ("field", "value"),
    [("held_out", 1), ("validation", ("a",)), ("folds", 2), ("classes", ("a", "b")),
     ("spacing", (1.0, 1.0, 1.0)), ("intensity", "ct")],
)  # fmt: skip
def test_what_tells_of_a_folder_is_refused_where_cases_are_given(segmenter, field, value):
    """Who asked for a case to be held out had the last weights, unvalidated."""
    with pytest.raises(UserError, match=f"{field} has no part in fine-tuning on cases"):
        finetune(segmenter, [case_of(0)], Recipe(steps=1, **{field: value}))


def test_a_network_in_bfloat16_gets_a_head_and_is_not_trained_whole(segmenter):
    segmenter.bfloat16()
    history = finetune(
        segmenter, [case_of(0)], Recipe(steps=1, train="head"), validation=[case_of(1)]
    )
    assert history.best.mean_dice > 0
    assert {value.dtype for value in segmenter.parameters()} == {torch.bfloat16}
    with pytest.raises(UserError, match=r"the network is in bfloat16, .* call network.float\(\)"):
        finetune(segmenter, [case_of(0)], Recipe(steps=1))
    finetune(segmenter.float(), [case_of(0)], Recipe(steps=1))


def test_what_is_frozen_in_bfloat16_may_stand_below_a_head_that_learns(segmenter):
    segmenter.backbone.bfloat16()
    with pytest.raises(UserError, match=r"the network is in bfloat16, and what learns has to be"):
        finetune(segmenter, [case_of(0)], Recipe(steps=1, precision="bfloat16"))
    freeze(segmenter, ["encoder", "transformer", "decoder"])
    before = segmenter.head.weight.detach().clone()
    finetune(
        segmenter, [case_of(0)], Recipe(steps=1, precision="bfloat16"), validation=[case_of(1)]
    )
    assert not torch.equal(segmenter.head.weight, before)
    with pytest.raises(UserError, match=r"the network is in bfloat16"):  # float32 cannot enter it
        finetune(segmenter, [case_of(0)], Recipe(steps=1))
