"""Errors that the user can mend, told apart from faults of the program; texts safe to print."""

from __future__ import annotations


class UserError(ValueError):
    """What was given is wrong: the message says what came, what is allowed and what to do next.

    Raised on purpose only. The command line prints it as one line and exits with status 2; any
    other exception is a fault of the program, with status 1.
    """


class UnknownNameError(UserError, KeyError):
    """A name that is not in a registry; the message lists those that are."""

    __str__ = Exception.__str__  # KeyError's would put quotes around the sentence


class MissingFileError(UserError, FileNotFoundError):
    """A file or folder that is not there, or lacks what it must hold."""

    __str__ = Exception.__str__


def printable(text: str) -> str:
    """Return a text with whatever could steer a terminal written as backslash escapes.

    Names in files from elsewhere may hold control characters, colours or marks that turn the
    direction of writing; line ends and tabs stay.
    """
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )
