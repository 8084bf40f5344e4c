"""What surrounds every verb: options parsed, warnings and errors as one line, exit status."""

from __future__ import annotations

import errno
import functools
import inspect
import os
import sys
import traceback
import typing
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TextIO

from mots_pretrained.cli import DONE, FAILED, INTERRUPTED, WRONG_INPUT, console
from mots_pretrained.errors import UserError

_MENDABLE = {
    errno.ENOENT,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
}
"""What may be wrong with a path that somebody names; a full or broken disk is no such thing."""


def guarded(work: Callable[[list[str]], int], words: list[str]) -> int:
    """Run ``work(words)``; whatever it raises becomes one line on standard error and a status.

    Status 2 is what the user can mend: a :class:`UserError`, or a path from the command line, or
    one below it, that the system refuses. Everything else is status 1.
    """
    console.prepare()
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            return work(words)
        except BrokenPipeError:
            # The reader (`| head`) has gone: keep Python from failing once more on its last flush.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        except KeyboardInterrupt:
            console.warn("interrupted")
            return INTERRUPTED
        except Exception as error:
            if console.verbose():
                traceback.print_exc()
            return _explain(error, words)


def run_verb(name: str, target: str, words: list[str]) -> int:
    """Parse a verb's own words and call its function.

    Args:
        name: The verb, for its help text.
        target: ``module:function``.
        words: The words after the verb.
    """
    import importlib

    import typer

    module, function = target.split(":")
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    work = getattr(importlib.import_module(module), function)
    app.command(name)(_with_verbosity(work, name, words))
    if "--json" in words:  # standard output then holds one JSON object and nothing else
        console.set_level(quiet=True)
    _refuse_repeated(typer.main.get_command(app), words)
    try:
        status = app(words, prog_name=f"mots {name}", standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        # Typer has carried its usage errors in different classes; all format themselves.
        if not hasattr(error, "format_message"):
            raise
        raise UserError(f"{error.format_message()} (see: mots {name} --help)") from None
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    return status if isinstance(status, int) else DONE


def _refuse_repeated(command: Any, words: list[str]) -> None:
    """Refuse an option of one value that is given twice: the first would be dropped unsaid.

    Raises:
        UserError: Naming it.
    """
    try:
        _, _, given = command.make_parser(command.context_class(command)).parse_args([*words])
    except Exception:  # whatever is wrong with the words, the command itself tells
        return
    for option in given:
        several = getattr(option, "multiple", True) or getattr(option, "is_flag", True)
        if not several and given.count(option) > 1:
            raise UserError(
                f"{max(option.opts, key=len)} is given {given.count(option)} times and takes one "
                "value; several belong in one, parted by commas, where it takes them"
            )


def _with_verbosity(
    function: Callable[..., Any], name: str, words: list[str]
) -> Callable[..., Any]:
    """Give a verb the options -v and -q, which all verbs share, and a run.log."""
    import typer

    from mots_pretrained.cli.run_log import logged

    @functools.wraps(function)
    def verb(*, verbose: bool, quiet: bool, **options: Any) -> Any:
        console.set_level(quiet=quiet or bool(options.get("json")), verbose=verbose)
        with logged(name, options, words):
            return function(**options)

    verbose = typer.Option("-v", "--verbose", help="Print more, and tracebacks of errors")
    quiet = typer.Option("-q", "--quiet", help="Print results only")
    flags = {"verbose": Annotated[bool, verbose], "quiet": Annotated[bool, quiet]}
    hints = {**typing.get_type_hints(function, include_extras=True), **flags}
    own = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(function).parameters.items()
    ]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=flag)
        for name, flag in flags.items()
    ]
    verb.__signature__ = inspect.Signature(own + added)  # type: ignore[attr-defined]
    verb.__annotations__ = hints
    del verb.__wrapped__  # typing would otherwise read the hints of the function beneath
    return verb


def _explain(error: Exception, words: list[str]) -> int:
    """Write an error as one line and return the exit status that it stands for."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.strerror}: {error.filename}"
    if is_mendable(error, words):
        console.warn(f"error: {text or type(error).__name__}")
        return WRONG_INPUT
    ours = not isinstance(error, OSError | MemoryError | _out_of_memory())
    console.warn(
        f"failed: {type(error).__name__}{': ' if text else ''}{text} "
        f"({'a fault of mots_pretrained, not of what you gave it; ' if ours else ''}"
        "run again with -v for the traceback)"
    )
    return FAILED


def is_mendable(error: Exception, words: list[str]) -> bool:
    """Return whether an error is the user's to mend: status 2."""
    return isinstance(error, UserError) or _is_path_of(error, words)


def _is_path_of(error: Exception, words: list[str]) -> bool:
    """Whether the system refused a path that is in the command line, or one above or below it."""
    if not isinstance(error, OSError) or error.errno not in _MENDABLE:
        return False
    if not isinstance(error.filename, str | bytes):
        return False
    refused = Path(os.path.abspath(os.fsdecode(error.filename)))
    given = [Path(os.path.abspath(value)) for value in map(_value, words) if value]
    return any(refused.is_relative_to(path) or path.is_relative_to(refused) for path in given)


def _value(word: str) -> str:
    """Return a word of the command line without the option in front: ``--output=X``, ``-oX``."""
    if word.startswith("--"):
        return word.partition("=")[2]
    return word[2:] if word.startswith("-") else word


def _out_of_memory() -> type[BaseException]:
    """Return torch's error for a full accelerator; torch is not imported for it."""
    torch = sys.modules.get("torch")
    return torch.OutOfMemoryError if torch is not None else MemoryError


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    from mots_pretrained.stages import LOGGER

    LOGGER.warning("%s", message)
    console.warn(f"warning: {message}")
