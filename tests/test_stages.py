"""Stages are logged when they are finished, and only then."""

from __future__ import annotations

import logging
import subprocess
import sys

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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a program's own peak")
def test_memory_is_that_of_the_program_not_of_what_started_it():
    """A program that is forked from a large one has that one's peak in getrusage."""
    code = "from mots_pretrained.stages import peak_memory_mb; print(peak_memory_mb()['process'])"
    large = bytearray(b"x") * (400 << 20)
    started = {"capture_output": True, "check": True, "text": True, "preexec_fn": lambda: None}
    done = subprocess.run([sys.executable, "-c", code], **started)  # forks, because of preexec_fn
    assert len(large) >> 20 == 400
    assert int(done.stdout) < 200
