"""What builds and tests a release: workflows and Dockerfile name what is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_workflows_test_three_systems_on_every_declared_python() -> None:
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8")
    matrix = yaml.safe_load(text)["jobs"]["fast"]["strategy"]["matrix"]
    assert [name.split("-")[0] for name in matrix["os"]] == ["ubuntu", "macos", "windows"]
    declared = [re.fullmatch(r".* :: (3\.\d+)", line) for line in PROJECT["classifiers"]]
    assert matrix["python"] == [match[1] for match in declared if match]


def test_the_targets_that_workflows_make_are_there() -> None:
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8")
    rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"run: make (\S+)", text)) <= {*rules}


def test_the_dockerfile_copies_what_is_there_and_what_is_sent() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    sent = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", text, re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert sorted(names) == sorted(sent)
    assert all((ROOT / name).exists() for name in names)


def test_the_dockerfile_installs_extras_that_are_declared() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    (extras,) = re.findall(r"\.whl\)\[([a-z,]+)\]", text)
    assert {*extras.split(",")} <= {*PROJECT["optional-dependencies"]}
