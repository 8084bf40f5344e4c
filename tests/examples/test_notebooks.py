"""The notebooks: clean, explained cell by cell, and they run from a clean kernel."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from mots_pretrained.training.finetune import AFTER_FIT
from mots_pretrained.training.recipe import read_recipe

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))


def test_both_are_there():
    assert NOTEBOOKS == ["finetune_bcv.ipynb", "finetune_brats.ipynb"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_each_cell_of_code_follows_a_sentence_and_holds_no_output(name):
    cells = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["cells"]
    for before, cell in pairwise(cells):
        if cell["cell_type"] == "code":
            assert before["cell_type"] == "markdown"
            assert "".join(before["source"]).rstrip().endswith((".", "?", ":"))
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_sentences_tell_what_the_recipe_does():
    """They told of copied filters and of equal terms, where the layer is drawn anew."""
    texts = {name: (EXAMPLES / name).read_text(encoding="utf-8") for name in NOTEBOOKS}
    assert read_recipe("finetune").channel_init == "random"
    assert "for one channel of CT, is drawn anew for four" in texts["finetune_brats.ipynb"]
    assert f"where the pretrained ones learn at {AFTER_FIT} of it" in texts["finetune_bcv.ipynb"]
    assert not any("equal terms" in text for text in texts.values())


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_real_data_finds_the_folder_of_results_and_a_second_run_goes_on(
    name, tmp_path, monkeypatch
):
    """Only drawing phantoms made the folder, and trainings refused those of an earlier run."""
    monkeypatch.chdir(tmp_path)
    cells = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names: dict = {}
    exec(code[0], names)
    assert names["OUT"].is_dir()
    [run] = [line for cell in code for line in cell.splitlines() if line.startswith("run = ")]
    assert "resume=True" in run


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("default")  # jupyter's own packages warn of each other
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_on_phantoms_and_ends_with_a_table(name, tmp_path):
    import nbclient  # within the test: it warns
    import nbformat

    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 3
    table = notebook.cells[-1].outputs[-1]["data"]["text/markdown"].splitlines()
    assert table[0].endswith("| pretrained | random |")
    assert table[-1].startswith("| **mean** | 0.")
    assert table[-1] != "| **mean** | 0.000 | 0.000 |"
    folder = tmp_path / name.removesuffix(".ipynb")
    assert len([*(folder / "submission").iterdir()]) == 1
