"""What an evaluation prints and refuses to print, from results made by hand."""

import json

import pytest

from mots_pretrained.cli.score_report import ScoreReport
from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.table import to_lines, write_lines


def results(**options):
    found = Results(("liver", "spleen"), ("dice", "hd95_published"), "published", **options)
    for case, dice in (("a", 0.5), ("b", 0.75)):
        scores = {"dice": dice, "hd95_published": 3.0}
        found.add(case, {"liver": scores}, group="liver")
    return found


def test_table_9_says_which_distance_on_whose_grid(capsys):
    report = ScoreReport("ours", paper=True)
    report.check(("dice", "hd95_published"), "published")
    report.show(results(), setting=["here"], grid="the model's")
    out = capsys.readouterr().out
    ours = next(line for line in out.splitlines() if line.startswith("ours"))
    assert ours.split()[:4] == ["ours", "62.50", "-", "3.00"]
    assert "TransDoDNet (paper)" in out
    assert "HD of ours: HD95 vox, on the model's grid; the published testing takes HD95" in out


def test_json_names_the_grid_and_has_no_nan(tmp_path, capsys):
    path = tmp_path / "a.csv"
    ScoreReport("ours", csv=str(path)).show(results(), setting=["here"], grid="the truth's")
    assert "\n\nevery case: " in capsys.readouterr().out
    report = ScoreReport("ours", against=str(path), json=True)
    report.check(("dice",), "standard")
    report.show(results().of(categories=["liver"]), setting=[], grid="the truth's", by_group=True)
    values = json.loads(capsys.readouterr().out)
    assert (values["name"], values["grid"], values["mean_dice"]) == ("ours", "the truth's", 0.625)
    assert values["differences"][0]["difference"] == 0
    assert values["domains"]["dice"] == {"liver": {"liver": 0.625}}
    assert path.read_text().splitlines()[1].startswith('evaluate,ours,"here, on the truth\'s grid"')


def test_scores_are_told_where_those_to_compare_with_have_no_such_case(tmp_path, capsys):
    """They were lost by an error after the work."""
    path = tmp_path / "a.csv"
    other = results().of(categories=["spleen"])
    other.add("c", {"spleen": {"dice": 0.5, "hd95_published": 3.0}})
    ScoreReport("ours", csv=str(path)).show(other, setting=["here"], grid="the truth's")
    capsys.readouterr()
    report = ScoreReport("ours", against=str(path))
    with pytest.raises(UserError, match=r"a\.csv scores none of these cases and categories"):
        report.show(results(), setting=["here"], grid="the truth's")
    assert "0.625" in capsys.readouterr().out


def test_one_row_of_several_is_compared_with(tmp_path, capsys):
    path = tmp_path / "a.csv"
    lines = to_lines(results(), table="t", row="one", setting="here")
    better = results()
    better.cases[0].scores["liver"]["dice"] = 0.75
    lines += to_lines(better, table="t", row="the other: 2", setting="here")
    write_lines(path, lines)
    with pytest.raises(UserError, match="twice for seed 0; say which table, row or setting"):
        ScoreReport("ours", against=str(path)).check(("dice",), "standard")
    report = ScoreReport("ours", against=f"{path}:the other: 2", json=True)
    report.check(("dice",), "standard")
    report.show(results(), setting=["here"], grid="the truth's")
    told = json.loads(capsys.readouterr().out)["differences"]
    assert told[0]["difference"] == pytest.approx(-0.125)
    with pytest.raises(UserError, match=r"a\.csv holds no line of row none"):
        ScoreReport("ours", against=f"{path}:none").check(("dice",), "standard")


def test_what_a_table_lacks_is_told_before_the_work(tmp_path):
    with pytest.raises(ValueError, match="needs hd95_published; add it to --metrics"):
        ScoreReport("ours", paper=True).check(("dice", "hd"), "published")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        ScoreReport("ours", csv=str(tmp_path / "no/a.csv")).check(("dice",), "standard")
    with pytest.raises(FileNotFoundError, match="mots evaluate -o"):
        ScoreReport("ours", against=str(tmp_path / "a.csv")).check(("dice",), "standard")


@pytest.mark.parametrize(
    ("setting", "grid", "told"),
    [
        (["7 phantoms, randomise 0.5", "rule standard"], "the model's", "randomise 0, here rand"),
        (["7 phantoms, randomise 0", "rule published"], "the model's", "rule standard, here rule"),
        (["truth", "rule standard"], "the truth's", "on the model's grid, here on the truth's"),
        (["9 phantoms, randomise 0", "rule standard", "weights b"], "the model's", ""),
    ],
)
def test_runs_that_were_scored_otherwise_are_told(tmp_path, recwarn, setting, grid, told):
    """Other phantoms have the same names, and were compared without a word."""
    path = str(tmp_path / "a.csv")
    first = ["7 phantoms, randomise 0", "rule standard", "weights a"]
    ScoreReport("ours", csv=path).show(results(), setting=first, grid="the model's")
    ScoreReport("ours", against=path).show(results(), setting=setting, grid=grid)
    messages = [str(one.message) for one in recwarn]
    assert len(messages) == bool(told)
    assert not told or f"was scored otherwise: {told}" in messages[0]


def test_grids_of_other_spacings_are_told_and_of_unknown_ones_not(tmp_path, recwarn):
    """Text alone was compared, which any spacing had in common."""
    old, new, coarse = (str(tmp_path / f"{name}.csv") for name in ("old", "new", "coarse"))
    grid = {"setting": ["rule standard"], "grid": "the model's"}
    ScoreReport("old", csv=old).show(results(), **grid)
    ScoreReport("new", csv=new, against=old).show(results(), **grid, spacing=(4.0, 3.0, 3.0))
    ScoreReport("new", against=new).show(results(), **grid, spacing=(4.0, 3.0, 3.0))
    assert not recwarn
    report = ScoreReport("coarse", csv=coarse, against=new)
    report.show(results(), **grid, spacing=(6.0, 6.0, 7.5))
    (told,) = [str(one.message) for one in recwarn]
    assert "on the model's grid of 4 x 3 x 3 mm, here on the model's grid of 6 x 6 x 7.5 mm" in told


def test_a_csv_that_is_replaced_is_compared_with_as_it_was(tmp_path, capsys):
    """It was written first, so that a run was compared with itself: no difference."""
    path = str(tmp_path / "a.csv")
    worse = Results(("liver",), ("dice",), "published")
    for case in "ab":
        worse.add(case, {"liver": {"dice": 0.25}}, group="liver")
    ScoreReport("before", csv=path).show(worse, setting=[], grid="the model's")
    report = ScoreReport("now", csv=path, against=path, json=True)
    report.check(("dice",), "published")
    capsys.readouterr()
    report.show(results(), setting=[], grid="the model's")
    liver, *_ = json.loads(capsys.readouterr().out)["differences"]
    assert (liver["category"], liver["difference"]) == ("liver", 0.375)
    assert "evaluate,now," in (tmp_path / "a.csv").read_text()
