"""Pages of one file: what a script reads cannot end its element, and no address is asked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.report import html
from mots_pretrained.report.html import asset, checked_page, page


def test_data_is_read_back_whatever_it_holds() -> None:
    data = {"name": "</script><b>&amp;\u2028", "n": [1, 2.5, None]}
    text = page("t", [], data=data)
    (held,) = re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert json.loads(held) == data
    assert "<b>" not in text
    assert text.count("</script>") == 1


def test_titles_are_escaped_bodies_are_not_and_scripts_come_last() -> None:
    text = page("a <b> & c", ["<p>one</p>", "<p>two</p>"], scripts=["page.css"])
    assert "<title>a &lt;b&gt; &amp; c</title>" in text
    assert text.index("<p>one</p>") < text.index("<p>two</p>") < text.index("<script>")
    assert asset("page.css").strip() in text
    assert text.endswith("</body></html>\n")
    assert 'id="data"' not in page("t", [])


def test_nothing_may_be_fetched() -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page("t", []))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    assert {word for words in rules.values() for word in words.split()} == {
        "'unsafe-inline'", "data:", "blob:",
    }  # fmt: skip


def test_no_other_module_begins_a_page() -> None:
    """That of ``mots check`` did, and had no policy."""
    package = Path(html.__file__).parents[1]
    begun = [path for path in package.rglob("*.py") if "<head" in path.read_text("utf-8").lower()]
    assert [path.name for path in begun] == ["html.py"]


def test_pages_that_cannot_be_written_are_refused_before_the_work(tmp_path: Path) -> None:
    assert checked_page(str(tmp_path / "a.HTM")) == tmp_path / "a.HTM"
    with pytest.raises(UserError, match=r"a\.pdf: the report is a page; give a name ending in"):
        checked_page(tmp_path / "a.pdf")
    with pytest.raises(MissingFileError, match=r"no such folder: \S+none; make it first"):
        checked_page(tmp_path / "none" / "a.html")
