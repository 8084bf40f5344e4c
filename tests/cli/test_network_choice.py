"""What options say of the network is what is loaded, recorded and sent to other machines."""

from __future__ import annotations

import pickle

import pytest
import torch
from small_networks import small

from mots_pretrained import networks
from mots_pretrained.cli.network_choice import NetworkChoice, protocol
from mots_pretrained.errors import UserError
from mots_pretrained.weights.fingerprint import weights_sha256


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any name be a small network's, and the processor have bfloat16."""
    monkeypatch.setattr(networks, "load", lambda name, add=(): networks.build(small()))
    capabilities = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)


def test_options_are_the_predictor_s_and_are_recorded():
    choice = NetworkChoice("m", tasks=("spleen",), overlap=0.25, flips=True, precision="auto")
    predictor = choice.predictor("cpu")
    assert [*predictor.label_values] == ["spleen"]
    recorded = {"overlap": 0.25, "flips": True, "postprocess": False, "precision": "bfloat16"}
    recorded["weights_sha256"] = weights_sha256(predictor.net.state_dict())
    recorded["thresholds"] = {}
    assert protocol(predictor) == recorded
    assert choice.made_by(predictor) == {"model": "m", **recorded}


def test_what_is_cleaned_by_other_tasks_is_recorded_with_them():
    """Results of a version that did not look at the liver were taken for the same by a resume."""
    for tasks, other in (("hepatic_vessel",), ["liver"]), (("liver", "hepatic_vessel"), None):
        choice = NetworkChoice("m", tasks=tasks, postprocess=True)
        assert protocol(choice.predictor("cpu")).get("cleaned_by") == other


def test_what_other_machines_are_sent_is_not_what_describes_it_here():
    choice = NetworkChoice("m", compiled=True, max_ram=6.0, precision="float16")
    assert pickle.loads(pickle.dumps(choice)) == choice
    here = choice.plain()
    assert (here.compiled, here.max_ram, here.precision) == (False, None, "float32")
    # float16 is for the GPUs of the cluster, and this processor does not stand in their way
    assert choice.made_by(here.predictor("cpu"))["precision"] == "float16"


def test_machines_that_may_choose_differently_are_refused():
    with pytest.raises(UserError, match="take float32, bfloat16 or float16 with --engine ray"):
        NetworkChoice("m", precision="auto").plain()
    with pytest.raises(UserError, match="unknown precision 'half'"):
        NetworkChoice("m", precision="half").plain()
