"""The long table: written, read back, one method chosen, seeds averaged, faults told."""

import csv
import math
import platform

import pytest

from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.table import (
    COLUMNS,
    _processor,
    from_lines,
    machine,
    read_lines,
    to_lines,
    write_lines,
)


def results():
    found = Results(("liver", "colon_tumour"), ("dice", "hd"), missing=("d",))
    for seed, dice in ((0, 0.5), (1, 0.75)):
        found.add("a", {"liver": {"dice": dice, "hd": 3.0}}, seed=seed, seconds=1.25)
        found.add("b", {"colon_tumour": {"dice": 0.0, "hd": math.inf}}, seed=seed)
        absent = {"dice": None, "hd": None, "false_ml": 0.5}
        found.add("c", {"colon_tumour": absent}, seed=seed)
    return found


def scores(path, metric="dice", **wanted):
    return from_lines(read_lines(path, **wanted)).by_case(metric)


def test_what_is_written_is_read_back(tmp_path):
    lines = to_lines(results(), table="evaluate", row="a model", setting="test", machine="here")
    path = write_lines(tmp_path / "a.csv", lines)
    assert scores(path) == {("a", "liver"): 0.625, ("b", "colon_tumour"): 0.0}
    assert scores(path) == results().by_case()
    assert scores(path, "hd") == results().by_case("hd") == {("a", "liver"): 3.0}
    again = from_lines(read_lines(path))
    assert again.metrics == ("dice", "hd")
    assert again.seeds == (0, 1)
    assert again.false_volume("colon_tumour") == 0.5
    assert again.spread("liver") == results().spread("liver")
    lines = list(csv.DictReader(path.read_text().splitlines()))
    assert tuple(lines[0]) == COLUMNS
    assert lines[0] == {
        "table": "evaluate", "row": "a model", "setting": "test", "seed": "0", "case": "a",
        "category": "liver", "metric": "dice", "value": "0.5", "steps": "", "seconds": "1.250",
        "machine": "here",
    }  # fmt: skip
    assert [line["value"] for line in lines if line["case"] == "b"] == ["0.0", "inf"] * 2
    assert [x["value"] for x in lines if x["metric"] == "false_ml"] == ["0.5", "0.5"]
    assert [line["case"] for line in lines if line["metric"] == "missing"] == ["d"]
    assert [*tmp_path.iterdir()] == [path]


def test_one_method_of_a_benchmark_is_chosen(tmp_path):
    cell = {"table": "table09", "case": "a", "category": "liver", "metric": "dice", "seed": "0"}
    path = write_lines(
        tmp_path / "t.csv",
        [
            {**cell, "row": "tal", "value": "0.25"},
            {**cell, "row": "dodnet", "value": "0.5"},
            {**cell, "row": "dodnet", "value": "0.75", "seed": "1"},
            {**cell, "row": "dodnet", "value": "999.0", "metric": "hd95_published"},
            {**cell, "row": "dodnet", "value": "2.0", "metric": "hd95_published", "case": "b"},
            {**cell, "row": "dodnet", "value": "7", "metric": "parameters", "case": ""},
        ],
    )
    assert scores(path, row="tal") == {("a", "liver"): 0.25}
    assert scores(path, row="dodnet") == {("a", "liver"): 0.625}
    assert scores(path, "hd95_published", row="dodnet") == {("b", "liver"): 2.0}
    with pytest.raises(ValueError, match="twice for seed 0; say which table, row or setting"):
        scores(path)
    with pytest.raises(ValueError, match="holds no line of row multi_nets"):
        read_lines(path, row="multi_nets")


def test_faults_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="mots evaluate -o"):
        read_lines(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="has no column 'table'"):
        read_lines(tmp_path / "other.csv")
    with pytest.raises(ValueError, match="'high' where a number should be"):
        from_lines([dict.fromkeys(COLUMNS, "") | {"metric": "dice", "value": "high"}])
    with pytest.raises(ValueError, match="'x' where a seed should be"):
        from_lines([dict.fromkeys(COLUMNS, "") | {"metric": "dice", "seed": "x"}])
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write_lines(tmp_path / "no/t.csv", [])


def test_the_machine_is_named_with_its_cores():
    assert " cores" in machine()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("fpu avx avx2 fma", "AMD EPYC (AVX2)"),
        ("fpu avx2 avx512f avx512bw", "AMD EPYC (AVX-512)"),
        ("avx512_bf16 avx2 avx512f", "AMD EPYC (AVX-512 bf16)"),
        ("avx512f amx_bf16 avx512_bf16", "AMD EPYC (AMX bf16)"),
        ("fpu sse2", "AMD EPYC"),
    ],
)
def test_a_processor_is_named_with_the_newest_of_its_vector_instructions(flags, named):
    cpu = f"processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: {flags}\n\n"
    assert _processor(cpu + cpu.replace(": 0", ": 1")) == named


def test_a_processor_that_tells_nothing_is_named_by_its_kind():
    assert _processor("") == (platform.processor() or platform.machine())
