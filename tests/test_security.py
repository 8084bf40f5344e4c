"""SECURITY.md says what is true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from mots_pretrained.config.checks import _LARGEST_VOLUME
from mots_pretrained.images import nifti
from mots_pretrained.parse import _LONGEST_NAME
from mots_pretrained.weights.download import FILES

ROOT = Path(__file__).parent.parent
TEXT = " ".join((ROOT / "SECURITY.md").read_text("utf-8").split())
TREES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8"))
    for path in sorted((ROOT / "mots_pretrained").rglob("*.py"))
}
CALLS = [
    (path, ast.unparse(node.func), node)
    for path, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.Call)
]
IMPORTS = {
    (path, name.split(".")[0])
    for path, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.Import | ast.ImportFrom)
    for name in (
        [alias.name for alias in node.names]
        if isinstance(node, ast.Import)
        else [node.module or ""]
    )
}


def listed(before: str, after: str) -> list[str]:
    """Names in backquotes between two phrases of the page."""
    return re.findall(r"`([^`]+)`", TEXT.split(before)[1].split(after)[0])


def test_the_files_that_are_fetched_are_those_listed() -> None:
    assert listed("these files are fetched", "Nothing in them is run") == list(FILES)


def test_torch_load_is_called_where_it_says_and_reads_weights_only() -> None:
    calls = [(path, node) for path, name, node in CALLS if name == "torch.load"]
    assert {path for path, _ in calls} <= {*listed("called in these files", "- `config.json`")}
    for _, node in calls:
        assert {k.arg: ast.unparse(k.value) for k in node.keywords}["weights_only"] == "True"


@pytest.mark.parametrize("name", ["eval", "exec", "os.system", "yaml.load", "pickle.load"])
def test_nothing_that_runs_code_is_called(name: str) -> None:
    assert [path for path, called, _ in CALLS if called == name] == []


def test_arrays_are_read_without_pickles_and_processes_run_without_a_shell() -> None:
    for path, name, node in CALLS:
        options = {k.arg: ast.unparse(k.value) for k in node.keywords}
        assert options.get("allow_pickle", "False") == "False", (path, name)
        assert options.get("shell", "False") == "False", (path, name)


def test_the_hub_is_reached_from_one_package_and_nothing_else_uses_the_network() -> None:
    users = {path for path, module in IMPORTS if module == "huggingface_hub"}
    assert {path.rpartition("/")[0] for path in users} == {"mots_pretrained/weights"}
    assert not {m for _, m in IMPORTS} & {"requests", "httpx", "urllib3", "http", "ftplib"}


def test_limits_are_the_ones_named() -> None:
    assert f"windows over {round(_LARGEST_VOLUME ** (1 / 3))}^3 voxels" in TEXT
    assert f"at most {_LONGEST_NAME} printable characters" in TEXT


@pytest.mark.parametrize("module", ["pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"])
def test_no_pickle_is_written_or_read(module: str) -> None:
    assert [path for path, name in IMPORTS if name == module] == []
    savers = {path for path, called, _ in CALLS if called == "torch.save"}
    assert savers == {*listed("pickles of its own; ", "writes the weights of")}


def test_lower_bounds_are_the_ones_named() -> None:
    bounds = re.findall(r"`(\w+)` (\d[\d.]*)", TEXT.split("## Dependencies")[1])
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert len(bounds) >= 6
    for name, bound in bounds:
        if name != "weights_only":
            assert re.search(rf'"{name}>={re.escape(bound.rstrip("."))}[",]', project), name


def test_limits_of_scans_are_the_ones_named() -> None:
    assert f"over 2^{nifti._LARGEST.bit_length() - 1} voxels" in TEXT
    assert f"over {nifti._BEHIND >> 20} MB behind its voxels" in TEXT


def test_the_jobs_and_modules_named_are_there() -> None:
    assert "audit:" in (ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8")
    for path in re.findall(r"`(mots_pretrained/[\w/]+\.py)`", TEXT):
        assert path in TREES
    assert "corpus:" in (ROOT / "Makefile").read_text("utf-8")
