"""The command line ``mots VERB``: finds the verb, calls its function, turns errors into one line.

Each verb is one plain function in a module of its own, imported only when it is asked for, so
that ``mots --help`` answers at once.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from mots_pretrained import __version__
from mots_pretrained.errors import UserError

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class Verb:
    """Where a verb lives (``module:function``) and what it does, in a few words."""

    target: str
    summary: str


VERBS: dict[str, Verb] = {
    name: Verb(f"mots_pretrained.cli.{name}:{name}", summary)
    for name, summary in (
        ("demo", "Run the whole workflow on a phantom scan or on your own, step by step"),
        ("models", "List the pretrained models, show one, fetch it, check what it has seen"),
        ("predict", "Segment a CT scan"),
        ("report", "Show results or a training as one page, with slices, 3D and volumes"),
        ("finetune", "Fine-tune pretrained weights on a few labelled scans"),
        ("evaluate", "Score label maps, or a model on prepared scans or on phantoms"),
        ("check", "Check the original collections for faults before training on them"),
        ("prepare", "Preprocess the original collections for training, by a model's contract"),
        ("phantom", "Write synthetic scans in the layout of MOTS, BCV or BraTS"),
        ("pretrain", "Train a network on partially labelled data"),
        ("convert", "Convert a published checkpoint to this package's format"),
        ("verify", "Check that a model computes its stored logits on this machine"),
        ("push", "Publish a model's folder on the Hugging Face Hub"),
        ("doctor", "Tell what is installed and whether it works, for a report of a fault"),
        ("export", "Write a model as ONNX, torch.export program, MONAI bundle or for nnU-Net"),
    )
}
"""Every verb of the command line, in the order of ``mots --help``."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit status.

    Args:
        arguments: Words after ``mots``; those of the running process by default.

    Returns:
        0 done, 1 the work failed, 2 the user's input is wrong, 130 interrupted.
    """
    words = sys.argv[1:] if arguments is None else arguments
    from mots_pretrained.cli.frame import guarded

    return guarded(_dispatch, list(words))


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        sys.stdout.flush()
        return DONE
    if words[0] in ("-V", "--version"):
        sys.stdout.write(f"mots_pretrained {__version__}\n")
        sys.stdout.flush()
        return DONE
    name, rest = words[0], words[1:]
    if name not in VERBS:
        raise UserError(_unknown(name))
    from mots_pretrained.cli.frame import run_verb

    return run_verb(name, VERBS[name].target, rest)


def _help() -> str:
    width = max(map(len, VERBS))
    listed = "\n".join(f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items())
    return f"""\
Usage: mots VERB [OPTIONS]

TransDoDNet and the MOTS benchmark as a pretrained 3D segmentation foundation model.

Verbs:
{listed}

Options:
  --version  Show the version
  --help     Show this; `mots VERB --help` shows a verb's own options

Start with: mots demo
"""


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    if name.startswith("-"):
        return f"unknown option {name!r}; see: mots --help"
    close = get_close_matches(name, VERBS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(VERBS)}"
    return f"unknown verb {name!r}; {hint}"
