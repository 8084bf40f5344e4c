"""Jobs on a Ray cluster: what tests/inference/test_ray_cohort.py does not see."""

import subprocess
import sys
import types

import pytest

from mots_pretrained.data.ray_workers import connected
from mots_pretrained.errors import UserError

SCRIPT = """
import math, os, sys, warnings
warnings.simplefilter("ignore")
from mots_pretrained.data.ray_workers import work_off_by_ray
if __name__ == "__main__":
    assert dict(work_off_by_ray(math.factorial, [1, 2, 3])) == {1: 1, 2: 2, 3: 6}
    assert dict(work_off_by_ray(os.path.abspath, ["a"])) == {"a": os.path.abspath("a")}
    try:
        list(work_off_by_ray(math.factorial, [-1]))
    except ValueError as error:
        print("told", error)
"""


def test_without_ray_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'mots_pretrained\[ray\]'"):
        connected()


def test_a_cluster_that_does_not_start_is_told_in_one_line(monkeypatch):
    def init(**options):
        raise Exception("The current node timed out during startup.\nIt was busy")  # as Ray's own

    ray = types.SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(UserError, match=r"no Ray cluster at .* \(The current node .*startup\. It"):
        connected()


@pytest.mark.long
@pytest.mark.timeout(120)
def test_every_job_comes_with_its_result_and_an_error_arrives(tmp_path):
    pytest.importorskip("ray")
    (tmp_path / "run.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "told" in done.stdout
    assert "negative" in done.stdout
