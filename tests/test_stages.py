"""Stages are logged when they are finished, and only then."""

from __future__ import annotations

import logging

import pytest

from mots_pretrained.stages import LOGGER, peak_memory_mb, stage


def test_a_stage_tells_its_name_time_and_facts(caplog):
    with caplog.at_level(logging.INFO, LOGGER.name), stage("read", scan="a"):
        pass
    assert caplog.messages == ["read a: 0.00 s"]
    facts = caplog.records[0].facts
    assert {**facts, "seconds": 0} == {"stage": "read", "scan": "a", "seconds": 0}


def test_a_stage_that_fails_is_not_told_as_done(caplog):
    with caplog.at_level(logging.INFO, LOGGER.name), pytest.raises(KeyError), stage("read"):
        raise KeyError
    assert caplog.messages == []


def test_memory_is_in_megabytes():
    assert 20 < peak_memory_mb()["process"] < 100_000
