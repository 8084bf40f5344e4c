"""What every verb stands in: its options parsed, warnings and errors as one line, exit status."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import traceback
import typing
import warnings
from collections.abc import Callable
from typing import Annotated, Any, TextIO

from mots_pretrained.cli import DONE, FAILED, INTERRUPTED, WRONG_INPUT, console
from mots_pretrained.errors import UserError, printable

_WRONG_INPUT = (
    ValueError,
    KeyError,
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


def guarded(work: Callable[[list[str]], int], words: list[str]) -> int:
    """Run ``work(words)``; whatever it raises becomes one line on standard error and a status."""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            return work(words)
        except BrokenPipeError:
            # The reader (`| head`) has gone: keep Python from failing once more on its last flush.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        except KeyboardInterrupt:
            _line("interrupted")
            return INTERRUPTED
        except Exception as error:
            if console.verbose() or os.environ.get("MOTS_DEBUG"):
                traceback.print_exc()
            return _explain(error)


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
    app.command(name)(_with_verbosity(getattr(importlib.import_module(module), function)))
    if "--json" in words:  # standard output then holds one JSON object and nothing else
        console.set_level(quiet=True)
    try:
        status = app(words, prog_name=f"mots {name}", standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        # Typer has carried its usage errors in different classes; all format themselves.
        if not hasattr(error, "format_message"):
            raise
        raise UserError(f"{_one_line(error.format_message())} (see: mots {name} --help)") from None
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    return status if isinstance(status, int) else DONE


def _with_verbosity(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options -v and -q, which belong to the frame and not to its function."""
    import typer

    @functools.wraps(function)
    def verb(*, verbose: bool, quiet: bool, **options: Any) -> Any:
        console.set_level(quiet=quiet or bool(options.get("json")), verbose=verbose)
        return function(**options)

    flags = {
        "verbose": Annotated[bool, typer.Option("-v", "--verbose", help="Tell more; tracebacks")],
        "quiet": Annotated[bool, typer.Option("-q", "--quiet", help="Tell results only")],
    }
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


def _explain(error: Exception) -> int:
    """Write an error as one line and return the exit status that it stands for."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.strerror}: {error.filename}"
    elif isinstance(error, KeyError) and error.args:
        text = str(error.args[0])  # str() of a KeyError would put quotes around the sentence
    else:
        text = str(error)
    text = _one_line(text) or type(error).__name__
    if isinstance(error, _WRONG_INPUT):
        _line(f"error: {text}")
        return WRONG_INPUT
    _line(f"failed: {type(error).__name__}: {text} (run again with -v for the traceback)")
    return FAILED


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    _line(f"warning: {_one_line(str(message))}")


def _line(text: str) -> None:
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def _one_line(text: str) -> str:
    return " ".join(text.split())
