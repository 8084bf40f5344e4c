from __future__ import annotations

import pytest

from mots_pretrained.errors import MissingFileError, UnknownNameError, UserError, printable


def test_user_errors_say_their_sentence_and_are_of_the_expected_kinds():
    assert str(UnknownNameError("no 'x'")) == "no 'x'"
    assert str(MissingFileError("no file")) == "no file"
    assert issubclass(UnknownNameError, UserError | KeyError)
    assert issubclass(MissingFileError, UserError | FileNotFoundError)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("liver, Leber, 肝臓, печень", "liver, Leber, 肝臓, печень"),
        ("a\x1b[31mred\x1b]0;title\x07", "a\\x1b[31mred\\x1b]0;title\\x07"),
        ("one\ttwo\nthree\rfour", "one\ttwo\nthree\\rfour"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\udcff", "a\\udcff"),
    ],
)
def test_nothing_that_steers_a_terminal_is_printed(text, shown):
    assert printable(text) == shown
