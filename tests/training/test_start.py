"""Going on from weights: what is kept, widened and made, and what does not go."""

import dataclasses

import pytest
import torch
from small_networks import small

from mots_pretrained.methods import METHODS
from mots_pretrained.networks import build
from mots_pretrained.tasks import MOTS_TASKS, Task
from mots_pretrained.training.start import carry, network_from

LIVER, KIDNEY, SPLEEN = MOTS_TASKS[0], MOTS_TASKS[1], MOTS_TASKS[6]
GALLBLADDER = Task("gallbladder", "gallbladder", None)


def saved(folder, architecture="transdodnet", tasks=(LIVER, SPLEEN)):
    net = METHODS[architecture](small(architecture, tasks=tasks))
    net.save_pretrained(folder)
    return net


@pytest.mark.parametrize("architecture", ["transdodnet", "dodnet"])
def test_old_tasks_keep_their_places_and_weights(tmp_path, architecture):
    old = saved(tmp_path, architecture)
    new, carried = network_from(str(tmp_path), (SPLEEN, KIDNEY, GALLBLADDER))
    names = [task.name for task in new.config.tasks]
    assert names == ["liver", "spleen", "kidney", "gallbladder"]
    assert carried.made == ()
    assert {*carried.kept} | {*carried.widened} == {*old.state_dict()}
    for key, value in old.state_dict().items():
        now = new.state_dict()[key]
        assert (now.shape == value.shape) == (key in carried.kept)
        torch.testing.assert_close(now[tuple(map(slice, value.shape))], value, rtol=0, atol=0)
    assert "widened" in str(carried)


def test_dodnets_old_tasks_answer_as_before(tmp_path):
    """Its tasks do not see each other, so a further one changes nothing."""
    old = saved(tmp_path, "dodnet").eval()
    new, _ = network_from(str(tmp_path), (GALLBLADDER,))
    image = torch.rand(1, 1, 16, 32, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = (net(image, ["liver", "spleen"]) for net in (old, new.eval()))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_the_same_tasks_give_the_same_network(tmp_path):
    old = saved(tmp_path)
    new, carried = network_from(str(tmp_path), (LIVER,))
    assert new.config == old.config
    assert (len(carried.kept), carried.widened) == (len(old.state_dict()), ())


def test_what_does_not_go_is_told(tmp_path):
    saved(tmp_path / "method")
    other = dataclasses.replace(SPLEEN, tumour="spleen_tumour")
    with pytest.raises(ValueError, match="'spleen' labels spleen and spleen_tumour here and sple"):
        network_from(str(tmp_path / "method"), (other,))
    build(small("segmenter")).save_pretrained(tmp_path / "segmenter")
    with pytest.raises(ValueError, match="is a segmenter, which pretraining can't go on from"):
        network_from(str(tmp_path / "segmenter"), (LIVER,))
    net = METHODS["transdodnet"](small("transdodnet"))
    for state in ({"strange": torch.zeros(2)}, {"organ_decoder.embedding": torch.zeros(9, 12)}):
        with pytest.raises(ValueError, match="weights hold"):
            carry(net, state)
