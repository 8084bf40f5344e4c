"""Work shared out: every result comes, and a worker that dies is told in one line."""

import os
import signal

import pytest

from mots_pretrained.data.workers import work_off
from mots_pretrained.errors import UserError


def _square(number):
    return number**2


def _refuse(number):
    raise UserError(f"{number} is refused")


def _die(job):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_ends_the_work_in_one_line():
    """Fault 32, of all that is shared out to workers: prepare, check, survey."""
    with pytest.raises(UserError, match="a worker process died, perhaps for lack of memory"):
        list(work_off(_die, [1, 2, 3], workers=2))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_job_comes_with_its_result(workers):
    assert dict(work_off(_square, [1, 2, 3], workers=workers)) == {1: 1, 2: 4, 3: 9}


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_a_job_arrives(workers):
    with pytest.raises(UserError, match="is refused"):
        list(work_off(_refuse, [1, 2, 3], workers=workers))
