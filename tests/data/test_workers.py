"""Work shared out: every result comes, and a worker that dies is told in one line."""

import math
import multiprocessing
import os
import signal

import pytest

from mots_pretrained.data.workers import outlast_sigterm, work_off
from mots_pretrained.errors import UserError


def test_a_worker_that_is_killed_ends_the_work_in_one_line():
    """Fault 32, of all that is shared out to workers: prepare, check, survey."""
    with pytest.raises(UserError, match="a worker process died, perhaps for lack of memory"):
        list(work_off(os._exit, [9, 9, 9], workers=2))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_job_comes_with_its_result(workers):
    assert dict(work_off(math.factorial, [1, 2, 3], workers=workers)) == {1: 1, 2: 2, 3: 6}


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_a_job_arrives(workers):
    with pytest.raises(ValueError, match="negative"):
        list(work_off(math.factorial, [1, -1, 2], workers=workers))


def _asked_whether_it_lives(pipe, closing):
    outlast_sigterm(closing, 0)
    for word in ("begun", "lives"):
        pipe.send(word)
        pipe.recv()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_loaders_worker_outlasts_a_sigterm_but_not_two():
    """One may have been sent to its parent's whole group; the second is for the worker itself."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    words = (theirs, context.RawValue("b", 0))
    worker = context.Process(target=_asked_whether_it_lives, args=words, daemon=True)
    worker.start()
    assert ours.recv() == "begun"
    worker.terminate()
    ours.send("are you there?")
    assert ours.recv() == "lives"
    worker.terminate()
    worker.join()
    assert worker.exitcode == -signal.SIGTERM


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_loader_that_is_closed_ends_its_worker_by_one():
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    closing = context.RawValue("b", 0)
    worker = context.Process(target=_asked_whether_it_lives, args=(theirs, closing), daemon=True)
    worker.start()
    assert ours.recv() == "begun"
    closing.value = 1
    worker.terminate()
    worker.join()
    assert worker.exitcode == -signal.SIGTERM
