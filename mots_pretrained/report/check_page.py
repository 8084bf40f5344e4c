"""What ``mots check`` found, as one page that needs no other file: findings, tables, pictures."""

from __future__ import annotations

import base64
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from html import escape

from mots_pretrained.check.anatomy import AXES
from mots_pretrained.check.case import CaseCheck, Finding
from mots_pretrained.check.collections import CheckReport
from mots_pretrained.files import write_text
from mots_pretrained.images.terminology import colour_of
from mots_pretrained.report.html import checked_page, page
from mots_pretrained.tasks import Task


def write_check_page(report: CheckReport, path: str | os.PathLike[str], *, title: str) -> None:
    """Write the page; it appears whole or not at all.

    Args:
        report: What was found, with or without pictures.
        path: An ``.html`` file to write or replace.
        title: What was checked.

    Raises:
        MissingFileError: If the folder does not exist.
        UserError: If the name does not end in ``.html``.
    """
    write_text(checked_page(path), page(title, _body(report, title)))


def _body(report: CheckReport, title: str) -> Iterator[str]:
    yield f"<h1>{escape(title)}</h1>"
    problems = len(report.problems)
    tone = "bad" if problems else "good"
    looks = len(report.findings) - problems
    yield f'<p>{len(report.cases)} labelled cases. <span class="{tone}">{problems} problems</span>'
    yield f', <span class="look">{looks} worth a look</span>.</p>'
    yield from _overview(report)
    if report.findings:
        yield "<h2>Findings</h2>"
        yield from _findings(report.findings)
    findings: dict[str, list[Finding]] = defaultdict(list)
    for finding in report.findings:
        for name in (finding.case, *finding.others):
            findings[name].append(finding)
    for collection in report.collections:
        yield f"<h2>{escape(collection.name)}</h2>"
        task = collection.supervises
        yield f'<p class="muted">{escape(task.source)}: {_legend(task)}</p>'
        yield '<div class="cases">'
        yield from (_case(check, findings[check.identifier]) for check in report.of(collection))
        yield "</div>"


def _overview(report: CheckReport) -> Iterator[str]:
    axes = "".join(f"<th>{axis}</th>" for axis in AXES)
    yield f'<table class="texts"><tr><th>collection</th><th>cases</th><th>problems</th>{axes}</tr>'
    for collection in report.collections:
        told = report.orientation(collection)
        found = report.problems_of(collection)
        tone = "bad" if found else "good"
        cells = "".join(f'<td class="{_tone(told[axis])}">{told[axis]}</td>' for axis in AXES)
        yield (
            f"<tr><td>{escape(collection.name)}</td><td>{len(report.of(collection))}</td>"
            f'<td class="{tone}">{len(found)}</td>{cells}</tr>'
        )
    yield "</table>"


def _tone(told: str) -> str:
    return "bad" if told.startswith("flipped") else "muted" if told.startswith("cannot") else ""


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    yield '<table class="texts"><tr><th>what</th><th>where</th><th>found</th></tr>'
    for finding in findings:
        tone = "bad" if finding.problem else "look"
        where = finding.case or finding.collection
        yield (
            f'<tr><td class="{tone}">{finding.kind}</td><td>{escape(where)}</td>'
            f"<td>{escape(finding.text)}</td></tr>"
        )
    yield "</table>"


def _legend(task: Task) -> str:
    return ", ".join(
        f'<span style="color:{colour_of(name, value)}">{escape(name.replace("_", " "))}</span>'
        for value, name in enumerate(task.categories, start=1)
    )


def _case(check: CaseCheck, findings: Sequence[Finding]) -> str:
    bad = any(f.problem for f in findings) or "flipped" in check.verdicts.values()
    tone = "bad" if bad else "look" if findings else ""
    picture = ""
    if check.picture is not None:
        data = base64.b64encode(check.picture).decode("ascii")
        picture = f'<img alt="{escape(check.identifier)}" src="data:image/jpeg;base64,{data}">'
    lines = [f"<b>{escape(check.identifier)}</b>"]
    if check.shape is not None and check.spacing is not None:
        shape = " x ".join(map(str, check.shape))
        spacing = " x ".join(f"{step:.3g}" for step in check.spacing)
        lines.append(f'<span class="muted">{shape} at {spacing} mm</span>')
    lines += [f'<span class="bad">flipped {a}</span>' for a, v in check.verdicts.items()
              if v == "flipped"]  # fmt: skip
    lines += [
        f'<span class="{"bad" if f.problem else "look"}">{escape(f.text)}</span>' for f in findings
    ]
    return f'<figure class="{tone}">{picture}<figcaption>{"<br>".join(lines)}</figcaption></figure>'
