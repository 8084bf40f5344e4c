"""The page of ``mots check``: findings, tables and pictures, names as text."""

from __future__ import annotations

import base64
import re
from html import escape
from pathlib import Path

import pytest

from mots_pretrained.check.anatomy import AXES, Reading
from mots_pretrained.check.case import CaseCheck, Finding
from mots_pretrained.check.collections import CheckReport
from mots_pretrained.data.layouts import Collection
from mots_pretrained.errors import UserError
from mots_pretrained.report.check_page import write_check_page
from mots_pretrained.report.html import page
from mots_pretrained.tasks import task_named

EVIL = "<script>alert(1)</script>&"
UPRIGHT = dict.fromkeys(AXES, "upright")


def report(*findings: Finding, picture: bytes | None = None, name: str = "a") -> CheckReport:
    """Two livers, the second flipped and unlike the first without a picture."""
    livers = Collection("liver", Path("livers"), (), task_named("liver"))
    first = CaseCheck(name, "liver", (5, 6, 7), (2.5, 0.7777, 0.7777), verdicts=UPRIGHT,
                      picture=picture)  # fmt: skip
    second = CaseCheck("b", "liver", verdicts={**UPRIGHT, AXES[2]: "flipped"},
                       readings=(Reading(AXES[2], "", -2.0),))  # fmt: skip
    return CheckReport((livers,), (first, second), findings)


def written(tmp_path: Path, told: CheckReport, title: str = "t") -> str:
    write_check_page(told, tmp_path / "page.html", title=title)
    return (tmp_path / "page.html").read_text("utf-8")


def test_problems_and_what_is_worth_a_look_are_counted_apart(tmp_path: Path) -> None:
    problem = Finding("grid", "beside the scan", "a", "liver")
    look = Finding("spacing", "far from the others", "b", "liver", problem=False)
    text = written(tmp_path, report(problem, look))
    assert '2 labelled cases. <span class="bad">1 problems</span>' in text
    assert '<span class="look">1 worth a look</span>' in text
    assert '<td class="bad">grid</td><td>a</td><td>beside the scan</td>' in text
    assert '<td class="look">spacing</td><td>b</td><td>far from the others</td>' in text
    # the row of the collection: cases, problems, and its orientation axis by axis
    row = re.search(r"<tr><td>liver</td><td>2</td><td class=\"bad\">1</td>(.*?)</tr>", text)
    assert row is not None
    assert re.findall(r'class="(\w*)">([^<]*)<', row[1]) == [
        ("", "upright in 2 of 2"), ("", "upright in 2 of 2"), ("bad", "flipped in 1 of 2"),
    ]  # fmt: skip
    assert re.findall(r'<figure class="(\w*)">', text) == ["bad", "bad"]
    assert "5 x 6 x 7 at 2.5 x 0.778 x 0.778 mm" in text


def test_a_problem_of_two_collections_is_counted_in_both_and_marks_both_cases(
    tmp_path: Path,
) -> None:
    """Fault: the table had 0 in green for both, and the second case's picture no mark."""
    names = ("liver", "spleen", "kidney")
    collections = tuple(Collection(n, Path(n), (), task_named(n)) for n in names)
    cases = tuple(CaseCheck(f"{n}_1", n, verdicts=UPRIGHT) for n in names)
    same = Finding("duplicate", "are the same scan", "liver_1", others=("spleen_1",))
    text = written(tmp_path, CheckReport(collections, cases, (same,)))
    rows = re.findall(r'<tr><td>(\w+)</td><td>1</td><td class="(\w+)">(\d)</td>', text)
    assert rows == [("liver", "bad", "1"), ("spleen", "bad", "1"), ("kidney", "good", "0")]
    assert re.findall(r'<figure class="(\w*)">', text) == ["bad", "bad", ""]
    assert '<span class="bad">1 problems</span>' in text


def test_without_findings_there_is_no_table_of_them(tmp_path: Path) -> None:
    text = written(tmp_path, report())
    assert '<span class="good">0 problems</span>' in text
    assert "<h2>Findings</h2>" not in text
    assert re.findall(r'<figure class="(\w*)">', text) == ["", "bad"]  # the second is flipped


def test_it_is_a_page_as_all_others_are_under_their_policy(tmp_path: Path) -> None:
    """Nothing may be fetched, whatever a name has put into the page."""
    text = written(tmp_path, report(), "t & u")
    head = text[: text.index("<h1>")]
    assert head == page("t & u", ["<h1>"]).partition("<h1>")[0]
    assert "Content-Security-Policy" in head


def test_names_are_text_and_pictures_lie_in_the_page(tmp_path: Path) -> None:
    found = Finding("file", EVIL, EVIL, "liver")
    text = written(tmp_path, report(found, picture=b"\xff\xd8picture", name=EVIL), EVIL)
    assert "<script>alert" not in text
    assert text.count(escape(EVIL)) >= 5
    (data,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    assert base64.b64decode(data) == b"\xff\xd8picture"
    assert "//" not in text.partition("<h1>")[2].replace(data, "")  # no address


def test_an_old_page_stays_where_none_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"report.txt: .* give a name ending in \.html"):
        write_check_page(report(), tmp_path / "report.txt", title="t")
    broken = CheckReport((Collection("x", Path("x"), ()),), (), ())  # of no task
    (tmp_path / "page.html").write_text("old")
    with pytest.raises(UserError, match="no collection of organ and tumour"):
        write_check_page(broken, tmp_path / "page.html", title="t")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("page.html", "old")]
