"""The results of ``mots predict`` as one page: slices and 3D, volumes, doubts, a cohort's table."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mots_pretrained.errors import UserError
from mots_pretrained.files import write_text
from mots_pretrained.images.reading import read_channels, read_labels
from mots_pretrained.images.volume import SAME_GRID, Volume, canonical, straightened
from mots_pretrained.report.embed import Embedded, embed
from mots_pretrained.report.html import checked_page, page
from mots_pretrained.report.overlay import colour_of
from mots_pretrained.report.results import Result, number, outliers, read_failures

_SERIOUS = ("intensity", "spacing", "orientation")  # kinds of doubts

_VIEWER = """
<section id="viewer"><div>
<div id="screen"><canvas id="canvas" aria-label="slices and labels"></canvas>
<div id="message">Loading</div></div>
<div id="place" class="muted" aria-live="polite"></div>
<div class="controls"><span id="views" class="controls"></span>
<label>slice <input id="slice" type="range" min="0" max="1" value="0" disabled></label>
<label>labels <input id="opacity" type="range" min="0" max="1" step="0.05" value="0.5"></label>
</div>
</div><div><h2 id="name"></h2><div id="about" class="muted"></div>
<ul id="doubts" class="doubts"></ul><ul id="labels"></ul></div></section>
"""


def write_prediction_page(
    results: Sequence[Result],
    path: str | os.PathLike[str],
    *,
    title: str,
    scans: str | os.PathLike[str] | None = None,
    most: int = 160,
    megabytes: float = 60.0,
) -> int:
    """Write the page of one scan or several; it appears whole or not at all.

    Args:
        results: What was found in them.
        path: An ``.html`` file to write or replace.
        title: What is shown.
        scans: Folder of the scans, where they are no longer where they were segmented.
        most: Voxels along any axis of the pictures.
        megabytes: Size of the pictures together, above which further scans are listed without;
            scans with doubts come first.

    Returns:
        How many scans have pictures; those of labels alone do not count.

    Raises:
        UserError: If the file's name or folder cannot be.

    Warns:
        UserWarning: If a scan or its label map could not be read; the page says of each why.
    """
    path = checked_page(path)
    order = sorted(results, key=lambda result: not result.told.get("doubts"))
    embedded: dict[str, Embedded] = {}
    unread: dict[str, str] = {}
    left = megabytes * 1e6
    for result in order:
        if left <= 0:
            break
        made, reason = _embedded(result, None if scans is None else Path(scans), most)
        if reason:
            unread[result.name] = reason
        if made is not None:
            embedded[result.name] = made
            left -= len(made.image) + len(made.marks)
    if unread:
        name, reason = next(iter(unread.items()))
        warnings.warn(
            f"{len(unread)} of {len(results)} scans are not in their pictures; {name}: {reason}",
            stacklevel=2,
        )
    shown = [_scan(one, embedded.get(one.name), unread.get(one.name, "")) for one in results]
    data = {"scans": shown}
    failures = read_failures(results[0].folder)
    body = _body(results, failures, title)
    write_text(path, page(title, body, data=data, scripts=("niivue.js", "viewer.js")))
    return len(embedded.keys() - unread.keys())


def _embedded(result: Result, scans: Path | None, most: int) -> tuple[Embedded | None, str]:
    """Read and shrink a scan and its labels, None without a label map; say what can't be read."""
    if result.label_map is None:
        return None, ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were told when the scan was segmented
        try:
            labels = read_labels(result.label_map)
        except (ValueError, OSError) as error:
            return None, f"the label map could not be read ({error})"
        scan, reason = None, ""
        try:
            scan = _read_scan(result, scans, labels)
        except (ValueError, OSError, ImportError) as error:
            reason = f"the scan could not be read ({error}), so its labels are shown alone"
        return embed(labels, result.values, scan=scan, most=most), reason


def _read_scan(result: Result, scans: Path | None, labels: Volume) -> Volume:
    """Read a scan on its label map's grid.

    Raises:
        UserError: If it is not there, can't be read or lies on another grid.
    """
    files = result.scan_files(scans)
    if not files:
        raise UserError("it is no longer there; name its folder with --scans")
    scan = _on_slices(read_channels(files, series=result.told.get("series")))
    if labels.apart(scan) > SAME_GRID:
        raise UserError("it lies on another grid than the label map; predict it again")
    return scan


def _on_slices(scan: Volume) -> Volume:
    """Bring uneven DICOM slices to where their label maps are read: all at the mean distance."""
    if scan.series is None or scan.series.planes is None:
        return scan
    return straightened(canonical(scan.restore(scan.array), scan.file_affine, name=scan.name))


def _scan(result: Result, pictures: Embedded | None, unread: str) -> dict[str, Any]:
    """Return what the page's script shows of a scan."""
    told = result.told
    about = [f"segmented by {told['model']}"] if told.get("model") else []
    about.append(" x ".join(f"{step:.3g}" for step in told["spacing_mm"]) + " mm (D, H, W)")
    about += [unread] if unread else []
    return {
        "name": result.name,
        "about": ", ".join(about),
        "doubts": [
            {"text": doubt["text"], "tone": "bad" if doubt["kind"] in _SERIOUS else "look"}
            for doubt in told.get("doubts", [])
        ],
        "labels": [_label(result, name, value, pictures) for name, value in result.values.items()],
        "image": None if pictures is None else pictures.image,
        "marks": None if pictures is None else pictures.marks,
    }


def _label(result: Result, name: str, value: int, pictures: Embedded | None) -> dict[str, Any]:
    amount = float(result.told["volumes_ml"].get(name, 0.0))
    seen = result.told.get("seen_volumes_ml", {}).get(name)
    doubted = any(
        doubt["kind"] == "volume" and doubt["category"] == name
        for doubt in result.told.get("doubts", [])
    )
    trained = "" if seen is None else f"training: {seen[0]:,.4g} to {seen[1]:,.4g} ml"
    return {
        "name": name,
        "shown": name.replace("_", " "),
        "colour": colour_of(name, value),
        "ml": amount,
        "told": _ml(amount) if amount else "not found",
        "doubted": doubted,
        "range": trained,
        "at": None if pictures is None else pictures.places.get(name),
    }


def _body(
    results: Sequence[Result], failures: Sequence[dict[str, str]], title: str
) -> Iterator[str]:
    yield f"<h1>{escape(title)}</h1>"
    doubted = sum(bool(result.told.get("doubts")) for result in results)
    counts = [f"{len(results)} scans", f"{doubted} with doubts", f"{len(failures)} failed"]
    if len(results) > 1:
        yield f'<p class="muted">{", ".join(counts)}</p>'
    yield _VIEWER
    if len(results) > 1:
        yield "<h2>Scans</h2>"
        yield '<p class="muted">Millilitres of each category. Marked are volumes, or medians of '
        yield "the values beneath, far from those of the other scans (3.5 robust standard "
        yield "deviations). Click a row to see the scan, a heading to sort.</p>"
        yield from _table(results)
    if failures:
        yield '<h2>Failed</h2><div class="wide"><table class="texts"><thead><tr>'
        yield "<th>file</th><th>kind</th>"
        yield "<th>reason</th></tr></thead><tbody>"
        for row in failures:
            cells = (escape(row.get(key) or "") for key in ("file", "kind", "reason"))
            yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        yield "</tbody></table></div>"


def _table(results: Sequence[Result]) -> Iterator[str]:
    categories = list(dict.fromkeys(name for result in results for name in result.values))
    heads = ["scan", "doubts", *(name.replace("_", " ") for name in categories)]
    odd = {
        (category, measure): outliers(results, category, measure)
        for category in categories
        for measure in ("volume_ml", "median")
    }
    yield '<div class="wide"><table class="sortable"><thead><tr>'
    yield "".join(f'<th><button type="button">{escape(head)}</button></th>' for head in heads)
    yield "</tr></thead><tbody>"
    for index, result in enumerate(results):
        cells = [f"<td>{escape(result.name)}</td>"]
        doubts = result.told.get("doubts", [])
        tone = "bad" if any(doubt["kind"] in _SERIOUS for doubt in doubts) else "look"
        cells.append(f'<td class="{tone if doubts else ""}">{len(doubts)}</td>')
        for category in categories:
            amount = float(result.told["volumes_ml"].get(category, 0.0))
            reasons = []
            if result.name in odd[category, "volume_ml"]:
                reasons.append("volume far from the others'")
            if result.name in odd[category, "median"]:
                reasons.append(f"median {number(result, category, 'median'):g}, far from theirs")
            mark = f' class="outlier" title="{escape("; ".join(reasons))}"' if reasons else ""
            cells.append(f'<td data-value="{amount!r}"{mark}>{amount:,.1f}</td>')
        yield f'<tr data-scan="{index}">{"".join(cells)}</tr>'
    yield "</tbody></table></div>"


def _ml(amount: float) -> str:
    return f"{amount:,.0f} ml" if amount >= 10 else f"{amount:.1f} ml"
