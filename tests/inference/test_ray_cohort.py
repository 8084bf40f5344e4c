"""A folder of scans on a Ray cluster: of two nodes, one of which is killed, and of a stand-in."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from small_networks import small

from mots_pretrained.data.layouts.collection import CaseFiles
from mots_pretrained.errors import UserError
from mots_pretrained.inference import ray_cohort
from mots_pretrained.inference.ray_cohort import segment_scans_by_ray
from mots_pretrained.networks import build
from mots_pretrained.phantom.collections import write_collection

SCRIPT = """
import glob, json, os, signal, sys, warnings
warnings.simplefilter("ignore")

def children(parent):
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as file:
                number, rest = file.read().rsplit(")", 1)
        except OSError:  # it has ended
            continue
        if int(rest.split()[1]) == parent:
            yield int(number.split()[0])

if __name__ == "__main__":
    import ray
    from ray.cluster_utils import Cluster
    from mots_pretrained.cli import main
    from mots_pretrained.inference import ray_cohort

    options = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**options, "include_dashboard": False})
    second = cluster.add_node(**options)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    told = {"nodes": sum(node["Alive"] for node in ray.nodes())}
    told["prepare"] = main([*sys.argv[1:], "-o", "prepared", "--engine", "ray"])
    own, told["killed_at"] = ray_cohort._Crew.wait, None

    def wait(crew):
        done = len(glob.glob("out/*_volumes.json"))
        if told["killed_at"] is None and len(crew.at_work) == 2 and done >= 3:
            told["killed_at"] = done
            for process in children(second.all_processes["raylet"][0].process.pid):
                os.kill(process, signal.SIGKILL)  # which would outlive its node by a few scans
            cluster.remove_node(second, allow_graceful=False)
        ends = own(crew)
        told["lost"] = told.get("lost", 0) + sum("lost" in str(end.failure) for _, end in ends)
        return ends

    ray_cohort._Crew.wait = wait
    own_assign = ray_cohort._Crew.assign

    def assign(crew, waiting):
        if told["killed_at"] is not None or not crew.starting:  # both begin together
            own_assign(crew, waiting)

    ray_cohort._Crew.assign = assign
    told["predict"] = main(["predict", "-i", "in", "-o", "out", "-m", "net", "--device", "cpu",
                            "--engine", "ray", "--no-picture", "-q"])
    print(json.dumps(told))
    ray.shutdown()
    cluster.shutdown()
"""


@pytest.mark.long
@pytest.mark.timeout(300)
def test_one_of_two_nodes_is_killed_and_all_is_as_on_one_machine(tmp_path):
    pytest.importorskip("ray")
    rng = np.random.default_rng(0)
    build(small()).save_pretrained(tmp_path / "net")
    (tmp_path / "in").mkdir()
    for number in range(14):
        scan = rng.integers(-1000, 1000, (40, 40, 24)).astype(np.int16)
        nib.save(
            nib.Nifti1Image(scan, np.diag([4, 4, 6, 1.0])), tmp_path / f"in/s{number:02}.nii.gz"
        )
    (tmp_path / "in" / "s05.nii.gz").write_bytes(b"")  # its own fault, on whatever machine
    write_collection("mots", tmp_path / "mots", cases=1, shape=(24, 32, 32))
    prepare = ["prepare", "-i", tmp_path / "mots", "--contract", tmp_path / "net",
               "--split", "all-test", "-q"]  # fmt: skip
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together):
        folder.mkdir()
        for name in ("in", "net"):
            (folder / name).symlink_to(tmp_path / name)
    predict = ["predict", "-i", "in", "-o", "out", "-m", "net", "--device", "cpu", "--no-picture",
               "-q"]  # fmt: skip

    def run(words: list[object], folder: Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1",
                       "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # fmt: skip
        return subprocess.run(
            [sys.executable, *map(str, words)], cwd=folder, env=environment, capture_output=True,
            text=True, timeout=200,
        )  # fmt: skip

    for words in ([*prepare, "-o", "prepared", "--workers", "1"], predict):
        run(["-m", "mots_pretrained", *words], alone)
    (tmp_path / "run.py").write_text(SCRIPT)
    done = run([tmp_path / "run.py", *prepare], together)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("{"))
    told = json.loads(line)
    assert (told["nodes"], told["prepare"], told["predict"]) == (2, 0, 1)  # one scan failed
    assert 3 <= told["killed_at"] < 13
    assert told["lost"] == 1  # the scan that the second node was at
    for name in ("prepared", "out"):
        assert contents(together / name) == contents(alone / name)
    with open(together / "out" / "failures.csv", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["s05.nii.gz"]
    assert len([*(together / "out").glob("*_seg.nii.gz")]) == 13


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("run.log", ".lock")
    }


def test_without_ray_the_engine_says_what_to_install(tmp_path, monkeypatch, capsys):
    from mots_pretrained.cli import main

    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "in").mkdir()
    scan = np.zeros((8, 8, 8), np.int16)
    nib.save(nib.Nifti1Image(scan, np.eye(4)), tmp_path / "in" / "a.nii.gz")
    words = ["predict", "-i", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert main([*words, "--engine", "ray"]) == 2
    assert "pip install 'mots_pretrained[ray]'" in capsys.readouterr().err
    assert main([*words, "--engine", "dask"]) == 2
    assert "unknown engine 'dask'; allowed are local, ray" in capsys.readouterr().err
    assert main([*words[:2], str(tmp_path / "in" / "a.nii.gz"), *words[3:], "--engine", "ray"]) == 2
    assert "shares out the scans of a folder" in capsys.readouterr().err


class LostActorError(Exception):
    """In place of RayError."""


class StandIn:
    """Ray as ray_cohort uses it, in this process: machines of one core, whose actors may die.

    Args:
        machines: Their number.
        is_deadly: Whether an actor dies at what it is asked: a scan's name, or ``"ready"``.
    """

    def __init__(self, machines: int, is_deadly: Callable[[str], bool]) -> None:
        self.machines, self.is_deadly, self.started = machines, is_deadly, 0
        self.exceptions = SimpleNamespace(RayError=LostActorError)

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 1.0}}] * self.machines

    def remote(self, **needs: Any) -> Callable[[type], Any]:
        return lambda kind: SimpleNamespace(remote=lambda *given: self._actor(kind(*given)))

    def _actor(self, actor: Any) -> Any:
        self.started += 1

        def method(name: str) -> Any:
            def call(*given: CaseFiles) -> Callable[[], Any]:
                if self.is_deadly(given[0].name if given else name):
                    return self._lost
                return lambda: getattr(actor, name)(*given)

            return SimpleNamespace(remote=call)

        return SimpleNamespace(ready=method("ready"), segment=method("segment"))

    def _lost(self) -> None:
        raise LostActorError("out of memory")

    def get(self, call: Callable[[], Any]) -> Any:
        return call()

    def wait(self, calls: list[Any], timeout: float | None = None) -> tuple[list[Any], list[Any]]:
        return calls[:1], calls[1:]


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Segment scans of given names on a stand-in's machines; return it, the done, the failed."""

    def run(names, machines, is_deadly, reads=lambda scan: None):
        ray = StandIn(machines, is_deadly)
        monkeypatch.setattr(ray_cohort, "connected", lambda: ray)

        def segment_scans(predictor, scans, write, *, formats):
            assert formats == ("nrrd",)  # what the driver was asked for
            reads(scans[0].name)
            return [{"scan": scans[0].name}], []

        monkeypatch.setattr(ray_cohort, "segment_scans", segment_scans)
        scans = [CaseFiles(name, (tmp_path / f"{name}.nii.gz",)) for name in names]
        done, failed = segment_scans_by_ray(
            lambda device: (None, None), scans, output=tmp_path / "out", device="cpu",
            formats=("nrrd",),
        )  # fmt: skip
        return ray, [one["scan"] for one in done], {one.file: one.reason for one in failed}

    return run


@pytest.mark.parametrize("machines", [1, 2])
def test_scans_that_cost_their_actors_cost_no_other_scan(cluster, machines):
    deadly, good = [f"big{i}" for i in range(9)], [f"good{i}" for i in range(3)]
    ray, done, failed = cluster([*deadly, *good], machines, lambda what: what in deadly)
    assert done == good
    assert [*failed] == [f"{name}.nii.gz" for name in deadly]
    assert all("its machine was lost: out of memory" in reason for reason in failed.values())
    assert machines + 3 * len(deadly) - 1 <= ray.started <= machines + 3 * len(deadly)


def test_a_device_on_which_no_actor_starts_is_given_up(cluster):
    ray, done, failed = cluster(["a", "b"], 1, lambda what: what == "ready")
    assert (ray.started, done) == (4, [])
    assert {*failed.values()} == {"no machine of the cluster is left"}


def test_a_scan_keeps_its_own_reason_when_the_last_machine_is_gone(cluster):
    asked = []

    def is_deadly(what):
        asked.append(what)
        return what == "big" or (what == "ready" and "big" in asked)

    _, done, failed = cluster(["big", "good"], 1, is_deadly)
    assert done == []
    assert failed["big.nii.gz"] == "its machine was lost: out of memory"
    assert failed["good.nii.gz"] == "no machine of the cluster is left"


def test_what_a_scan_warns_of_on_its_machine_is_told_here(cluster):
    def reads(scan):
        for _ in range(2):
            warnings.warn(f"{scan}: its slices are tilted", stacklevel=2)
        if scan == "bad":
            raise UserError("no scan at all")

    with pytest.warns(UserWarning, match="are tilted") as caught:
        _, done, failed = cluster(["bad", "good"], 1, lambda what: False, reads)
    assert (done, failed) == (["good"], {"bad.nii.gz": "no scan at all"})
    texts = [str(one.message) for one in caught]
    assert texts == ["bad: its slices are tilted", "good: its slices are tilted"]
