"""``mots doctor``: tell what is installed here and whether it works."""

from __future__ import annotations

from typing import Annotated

import typer

from mots_pretrained.cli import DONE, FAILED, console, options

_SIGNS = {True: "ok", False: "FAILS", None: "-"}


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the self-test")] = False,
    json: options.Json = False,
) -> int:
    """Tell what is installed, which extras and devices work, and run a self-test of seconds.

    Put what it prints into a report of a fault, with the run.log of the run.
    Exit status 1 says that something needed does not work.
    """
    from mots_pretrained.doctor import as_json, examine

    checks = examine(self_test=not quick)
    told = as_json(checks)
    if json:
        console.show_json(told)
    else:
        part = ""
        for check in checks:
            if check.part != part:
                part = check.part
                console.show(f"{part}s" if part != "self-test" else part)
            console.show(f"  {_SIGNS[check.works]:<5} {check.name}: {check.told}")
    return DONE if told["works"] else FAILED
