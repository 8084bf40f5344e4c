"""What ``mots predict`` shows of a scan: volumes, what speaks against them, or why it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mots_pretrained.cli import console

if TYPE_CHECKING:
    from mots_pretrained.inference.failures import Failure

_WARNED = ("spacing", "orientation")  # kinds of doubts that go to standard error
_LISTED = {"missing": "not found", "cut": "cut by the scan's border"}  # told by their names alone


def show_scan(told: dict[str, Any] | Failure) -> None:
    """Show the report of a scan, or its failure."""
    if not isinstance(told, dict):
        console.say(f"failed: {told.file}: {told.reason}")
        return
    if "volumes_ml" not in told:
        console.show(told["segmentation"])
        return
    picture = f"; {told['overlay']}" if "overlay" in told else ""
    console.show(f"{told['segmentation']}  ({told['seconds']:.0f} s{picture})")
    found = {name: ml for name, ml in told["volumes_ml"].items() if ml}
    width = max(map(len, found), default=0)
    for name, ml in found.items():
        values = told["labels"][name]
        own = values if isinstance(values, int) else values[0]
        console.show(f"  {own:>3}  {name:<{width}}  {ml:9.1f} ml")
    if not found:
        console.show("  nothing found")
    for note in _notes(told):
        console.show(f"  note: {note}")


def warn_of_scan(told: dict[str, Any]) -> None:
    """Warn of what makes a result useless; of what is no CT reading it has warned."""
    for doubt in told.get("doubts", ()):
        if doubt["kind"] in _WARNED:
            console.warn(f"warning: {told['scan']}: {doubt['text']}")


def _notes(told: dict[str, Any]) -> list[str]:
    """Return what else speaks against a result, in a line a kind."""
    doubts = [doubt for doubt in told.get("doubts", ()) if doubt["kind"] not in _WARNED]
    listed = {kind: [d["category"] for d in doubts if d["kind"] == kind] for kind in _LISTED}
    lines = [f"{_LISTED[kind]}: {', '.join(names)}" for kind, names in listed.items() if names]
    return lines + [doubt["text"] for doubt in doubts if doubt["kind"] not in _LISTED]
