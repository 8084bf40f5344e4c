"""What the small size promises."""

import pytest

from mots_pretrained.methods import METHODS
from mots_pretrained.networks import build
from mots_pretrained.training.presets import SIZES, configuration


@pytest.mark.parametrize("method", ["dodnet", "transdodnet"])
def test_the_small_network_fits_ten_megabytes_as_float16(method):
    net = METHODS[method](configuration(method, "small"))
    assert 2 * sum(parameter.numel() for parameter in net.parameters()) < 10e6
    assert net.config.architecture == method


def test_patch_is_the_window_of_the_small_size():
    contract = SIZES["small"].config.preprocessing
    assert contract.patch == contract.window == (48, 96, 96)
    assert {name: size.recipe for name, size in SIZES.items()} == {
        "small": "small",
        "paper": "paper",
    }


def test_unknown_names_are_told():
    with pytest.raises(KeyError, match=r"unknown method 'unet'; allowed are .*transdodnet"):
        configuration("unet", "small")
    with pytest.raises(KeyError, match="unknown size 'huge'; allowed are small, paper"):
        configuration("transdodnet", "huge")


def test_dodnet_is_the_papers_without_a_transformer():
    net = build(configuration("dodnet", "paper"))
    assert sum(parameter.numel() for parameter in net.parameters()) == 35_313_472  # Table 4
