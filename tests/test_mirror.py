"""Tests mirror the tree: a module's tests are found where its path says, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "mots_pretrained"

UNTESTED: dict[str, str] = {}
"""Modules without a test file of their own, and the reason: declarations without behaviour."""

ACROSS = {
    "cli/test_predict_cohort.py": "mots predict over a folder of scans",
    "cli/test_predict_submission.py": "mots predict --submission",
    "cli/test_push_names.py": "names that mots push keeps to itself",
    "data/layouts/test_all_layouts.py": "what all layouts have in common, and telling them apart",
    "data/test_prepare_again.py": "prepared folders that are taken up again or refused",
    "evaluation/test_file_names.py": "scoring files: names of label values",
    "evaluation/test_labelled_cases.py": "scoring files: cases that label some classes",
    "inference/test_cohort_failures.py": "runs over folders in which scans fail",
    "inference/test_predictor_networks.py": "predicting with any kind of network",
    "methods/test_parity.py": "all published networks, number for number",
    "methods/test_work.py": "the work that all methods do for a task",
    "phantom/test_shapes.py": "shapes of all organs, beside those of people",
    "report/test_browser.py": "all pages in a real browser",
    "test_api.py": "docs/api.md",
    "test_contributing.py": "CONTRIBUTING.md",
    "test_create_model.py": "networks as timm makes them",
    "test_docs.py": "the pages of docs/",
    "test_docs_code.py": "the Python of README and docs/",
    "test_docs_commands.py": "the commands in docs/",
    "test_four_commands.py": "from phantoms to scores on the command line",
    "test_hubconf.py": "hubconf.py",
    "test_init.py": "the package's public names",
    "test_layers.py": "imports between packages",
    "test_mirror.py": "names of test files",
    "test_public_names.py": "names that examples, benchmarks and pages use",
    "test_release.py": "versions and what is released",
    "test_security.py": "SECURITY.md",
    "test_wheel.py": "the built wheel",
    "training/test_determinism.py": "docs/determinism.md",
    "training/test_incomplete_labels.py": "folders whose cases label different classes",
    "training/test_finetune_again.py": "fine-tunings that are taken up again or refused",
    "training/test_rates.py": "rates and averages of every step",
    "training/test_elastic.py": "torchrun's restart of a training that lost a process",
    "training/test_real_brain.py": "from a real brain's files to a step of training",
    "training/test_several_processes.py": "training in several processes",
    "weights/test_hub.py": "loading and pushing by the real huggingface_hub client",
    "weights/test_untrusted.py": "folders from elsewhere",
}
"""Test files about several modules together or a part of a large one, and what they are about."""

_OF_OTHER_TREES = {"benchmarks", "corpus", "examples", "faults", "hub"}
"""Folders of tests whose subject lies outside the package, or is all of it."""


def test_every_module_has_its_test_file():
    assert sorted(module for module, _ in untested(PACKAGE, TESTS) if module not in UNTESTED) == []


def test_every_test_file_has_its_module():
    assert sorted(test for test in mirroring_nothing(PACKAGE, TESTS) if test not in ACROSS) == []


def test_the_lists_hold_nothing_that_is_gone():
    missing = {module for module, _ in untested(PACKAGE, TESTS)}
    assert set(UNTESTED) <= missing
    assert set(ACROSS) <= {*mirroring_nothing(PACKAGE, TESTS)}


def test_what_does_not_mirror_is_seen(tmp_path):
    package, tests = tmp_path / "package", tmp_path / "tests"
    for path in (
        package / "__init__.py",
        package / "images" / "__init__.py",
        package / "images" / "nifti.py",
        package / "files.py",
        tests / "images" / "test_nifti.py",
        tests / "test_nifti.py",
        tests / "small_networks.py",
        tests / "examples" / "test_scripts.py",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert [*untested(package, tests)] == [("files.py", "test_files.py")]
    assert [*mirroring_nothing(package, tests)] == ["test_nifti.py"]


def untested(package: Path, tests: Path) -> Iterator[tuple[str, str]]:
    """Yield each module without a test file, and the file that should be there."""
    for module in _modules(package):
        test = module.with_name(f"test_{module.name}")
        if not (tests / test).is_file():
            yield module.as_posix(), test.as_posix()


def mirroring_nothing(package: Path, tests: Path) -> Iterator[str]:
    """Yield each test file that no module's path leads to."""
    wanted = {module.with_name(f"test_{module.name}") for module in _modules(package)}
    for path in sorted(tests.rglob("test_*.py")):
        test = path.relative_to(tests)
        if test not in wanted and test.parts[0] not in _OF_OTHER_TREES:
            yield test.as_posix()


def _modules(package: Path) -> Iterator[Path]:
    for path in sorted(package.rglob("*.py")):
        if path.stem not in ("__init__", "__main__"):
            yield path.relative_to(package)
