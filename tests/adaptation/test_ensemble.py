"""Several segmenters as one: the mean of their probabilities, saved fold by fold."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_networks import SIZE, small

from mots_pretrained.adaptation.ensemble import Ensemble, fold_folders
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.config import SeenVolume
from mots_pretrained.model.backbone import MOTSBackbone
from mots_pretrained.networks import create_model, load

X = torch.randn(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))


def segmenter(seed: int, **changes) -> Segmenter:
    torch.manual_seed(seed)
    return Segmenter(small("segmenter", **changes)).eval()


@torch.no_grad()
@pytest.mark.parametrize("exclusive", [True, False])
def test_its_probability_is_the_mean_of_its_members(exclusive: bool) -> None:
    members = [segmenter(seed, exclusive=exclusive) for seed in range(3)]
    out = Ensemble(members)(X)
    if exclusive:
        found, wanted = out.softmax(1), sum(member(X).softmax(1) for member in members) / 3
    else:
        found, wanted = out.sigmoid(), sum(member(X).sigmoid() for member in members) / 3
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@torch.no_grad()
def test_certain_members_give_finite_logits() -> None:
    sure = segmenter(0)
    sure.head.weight *= 1e6
    assert Ensemble([sure, sure])(X).isfinite().all()


@torch.no_grad()
def test_certain_members_in_bfloat16_give_what_they_do_one_by_one() -> None:
    """Beyond a logit of 6.2 bfloat16 has no probability but 1, whose logit is infinite."""
    member = segmenter(0, exclusive=False)
    member.head.weight *= 20
    with torch.autocast("cpu", torch.bfloat16):
        one, both = member(X).float(), Ensemble([member, member])(X).float()
    assert one.max() > 7
    torch.testing.assert_close(both.clamp(-9, 9), one.clamp(-9, 9), rtol=0, atol=0.01)


def test_folds_are_written_and_found_in_their_own_order(tmp_path: Path) -> None:
    members = [segmenter(seed) for seed in range(11)]
    Ensemble(members).save_pretrained(tmp_path)
    assert [path.name for path in fold_folders(tmp_path)] == [f"fold_{i}" for i in range(11)]
    back = load(tmp_path)
    assert isinstance(back, Ensemble)
    assert not back.training
    for one, other in zip(back.members, members, strict=True):
        assert torch.equal(one.head.weight, other.head.weight)


def test_folds_are_no_single_network(tmp_path: Path) -> None:
    Ensemble([segmenter(0), segmenter(1)]).save_pretrained(tmp_path / "folds")
    match = r"folds holds folds, not one network; load them with .*, such as .*fold_0"
    for wrong in (
        lambda: Segmenter.from_pretrained(tmp_path / "folds"),
        lambda: MOTSBackbone.from_pretrained(tmp_path / "folds"),
        lambda: create_model(tmp_path / "folds", pretrained=True, num_classes=3),
    ):
        with pytest.raises(FileNotFoundError, match=match):
            wrong()
    assert isinstance(create_model(tmp_path / "folds", pretrained=True), Ensemble)


def test_a_folder_with_another_network_is_not_saved_into(tmp_path: Path) -> None:
    two, three = (Ensemble([segmenter(seed) for seed in range(n)]) for n in (2, 3))
    three.save_pretrained(tmp_path / "folds")
    three.save_pretrained(tmp_path / "folds")  # in its own place
    with pytest.raises(ValueError, match=r"folds holds another network \(fold_2\); save into"):
        two.save_pretrained(tmp_path / "folds")
    with pytest.raises(ValueError, match=r"folds holds another network \(fold_0, fold_1, fold_2"):
        segmenter(5).save_pretrained(tmp_path / "folds")
    assert len(load(tmp_path / "folds").members) == 3
    segmenter(5).save_pretrained(tmp_path / "one")
    with pytest.raises(ValueError, match=r"one holds another network \(config.json\)"):
        two.save_pretrained(tmp_path / "one")
    assert [path.name for path in tmp_path.glob("one/fold_*")] == []


def test_a_folder_with_a_network_of_its_own_is_no_ensemble(tmp_path: Path) -> None:
    segmenter(0).save_pretrained(tmp_path)
    segmenter(1).save_pretrained(tmp_path / "fold_0")
    assert fold_folders(tmp_path) == []


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one network"):
        Ensemble([])
    with pytest.raises(ValueError, match="differ in their classes"):
        Ensemble([segmenter(0), segmenter(1, classes=("liver", "spleen"))])
    with pytest.raises(ValueError, match="holds no fold_0"):
        Ensemble.from_folder(tmp_path)
    with pytest.raises(ValueError, match="no single network"):
        Ensemble([segmenter(0)])._saved_state()


def test_its_thresholds_are_the_means_of_theirs() -> None:
    members = [segmenter(0, thresholds={"liver": 0.8}), segmenter(1, thresholds={"spleen": 0.4})]
    assert Ensemble(members).config.thresholds == pytest.approx({"liver": 0.65, "spleen": 0.45})
    assert Ensemble([segmenter(0), segmenter(1)]).config.thresholds == {}


def test_its_volumes_of_training_are_the_range_of_all_folds() -> None:
    one = (SeenVolume("liver", 900.0, 1500.0, 4, 0), SeenVolume("spleen", 80.0, 300.0, 3, 1))
    other = (SeenVolume("liver", 1100.0, 2100.0, 5, 0),)
    members = [segmenter(seed, seen_volumes=seen) for seed, seen in enumerate((one, other))]
    assert Ensemble(members).config.seen_volumes == (
        SeenVolume("liver", 900.0, 2100.0, 5, 0),
        SeenVolume("spleen", 80.0, 300.0, 3, 1),
    )
