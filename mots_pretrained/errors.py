"""Errors that the user can mend, told apart from faults of the program."""

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
