"""Progress over scans: a line now and then where there is no terminal."""

from __future__ import annotations

import pytest

from mots_pretrained.cli import console, scans_bar
from mots_pretrained.cli.scans_bar import time_left


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set, in a command that is not to be quiet."""
    now = [0.0]
    monkeypatch.setattr(scans_bar.time, "monotonic", lambda: now[0])
    console.set_level()
    yield now
    console.set_level()


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (99, "99 s"), (100, "2 min"), (5999, "100 min"), (9000, "2.5 h")],
)
def test_times_are_told_roughly(seconds, told):
    assert time_left(seconds) == told


def test_lines_come_no_more_often_than_every_twenty_seconds(clock, capsys):
    with scans_bar.scans_bar(4) as bar:
        window = bar.windows("ct")
        for second in range(0, 50, 5):
            clock[0] = second
            window(second // 5 + 1, 10)
        clock[0] = 60.0
        bar.done()
        clock[0] = 120.0
        bar.done()
    assert capsys.readouterr().out.splitlines() == [
        "ct: window 6 of 10",
        "1 of 4 scans done, about 3 min left",
        "2 of 4 scans done, about 2 min left",
    ]


def test_of_a_single_scan_and_of_the_last_nothing_is_told(clock, capsys):
    for count in (1, 2):
        with scans_bar.scans_bar(count) as bar:
            clock[0] += 1
            for _ in range(count - 1):
                bar.done()
            clock[0] += 60
            bar.done()
    assert capsys.readouterr().out == ""


def test_nothing_is_told_where_it_is_to_be_quiet(clock, capsys):
    console.set_level(quiet=True)
    with scans_bar.scans_bar(4) as bar:
        clock[0] = 60.0
        bar.windows("ct")(1, 2)
        bar.done()
    assert capsys.readouterr().out == ""
