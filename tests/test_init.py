"""The public names of the package: a dozen, all there, none of them costly to have."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mots_pretrained as mots


def test_every_public_name_exists_and_is_listed():
    for name in mots.__all__:
        assert getattr(mots, name) is not None
        assert name in dir(mots)
    assert sorted(mots._HOMES) == sorted(mots.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="frobnicate"):
        mots.frobnicate


def test_importing_the_package_and_listing_models_needs_no_torch():
    code = (
        "import sys, mots_pretrained as mots; mots.list_models(), mots.ModelConfig, dir(mots);"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
