"""A process of its own that loads models by name, driven line by line; the real client inside.

huggingface_hub reads its environment once, so that every setting needs a process. Run as a
script it answers one JSON line for each that it is given.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Client:
    """A process with an environment of its own.

    Args:
        home: Its HF_HOME: the cache, the stored login.
        environment: HF_ENDPOINT and whatever else it shall see.
    """

    def __init__(self, home: Path, **environment: str) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        own |= {
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",  # the storage protocol that no small Hub can speak
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**own, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def start(self, verb: str, name: str, **options: Any) -> None:
        """Ask without waiting for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"verb": verb, "name": name, **options}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the client ended with status {self._process.wait()}"
        return json.loads(line)

    def ask(self, verb: str, name: str, **options: Any) -> dict[str, Any]:
        """Return the answer: ``{"value": ...}``, or ``{"error": its class, "told": its text}``."""
        self.start(verb, name, **options)
        return self.answer()

    def close(self) -> None:
        """End the process, in the middle of whatever it does."""
        self._process.kill()
        self._process.communicate()


def _resolve(name: str, **options: Any) -> str:
    from mots_pretrained.weights.download import resolve

    return str(resolve(name, **options))


def _load(name: str, **options: Any) -> str:
    from mots_pretrained.networks import load
    from mots_pretrained.weights.fingerprint import weights_sha256

    return weights_sha256(load(name, **options).state_dict())


def _push(name: str, *, folder: str, **options: Any) -> str:
    from mots_pretrained.networks import load

    return load(folder).push_to_hub(name, **options)


def _push_folder(name: str, *, folder: str, **options: Any) -> str:
    from mots_pretrained.weights.upload import upload_folder

    return upload_folder(folder, name, **options)


def _command(name: str, *, words: list[str]) -> dict[str, Any]:
    """Run ``mots NAME WORDS``."""
    import contextlib
    import io

    from mots_pretrained.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([name, *words])
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}


def _validate(name: str) -> str:
    """Let huggingface_hub's own validator read a card."""
    from huggingface_hub import ModelCard

    ModelCard.load(name).validate(repo_type="model")
    return "valid"


def _push_organs(name: str, *, organ: str, **options: Any) -> str:
    """Push a head whose bias says that it is the one."""
    import mots_pretrained as mots
    from mots_pretrained.adaptation.extended import add_head

    net = mots.load("transdodnet.phantom")
    segmenter = mots.Segmenter.from_pretrained(
        "transdodnet.phantom", classes=[organ], head="levels"
    )
    segmenter.head.bias.data.fill_(0.25)
    return add_head(net, segmenter).push_organs(name, organ, **options)


def _load_organs(name: str, *, organ: str, **options: Any) -> list[float]:
    """Return what was learned for an organ of a repository, put onto the same weights again."""
    import mots_pretrained as mots

    net = mots.load("transdodnet.phantom", add=[name], **options)
    assert net.config.tasks[-1].name == organ
    return net.added[0].bias.tolist()


_VERBS: dict[str, Callable[..., Any]] = {
    "resolve": _resolve,
    "load": _load,
    "push": _push,
    "push_folder": _push_folder,
    "command": _command,
    "validate": _validate,
    "push_organs": _push_organs,
    "load_organs": _load_organs,
}


def _hasten() -> None:
    """Let huggingface_hub try again once, and soon: it does five times, and waits in between."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import http_backoff

    for function, shorter in (
        (http_backoff, {"max_retries": 1, "base_wait_time": 0.01}),
        (http_get, {"_nb_retries": 1}),
    ):
        defaults = inspect.unwrap(function).__kwdefaults__ or {}
        assert {*shorter} <= {*defaults}
        defaults.update(shorter)


def _main() -> None:
    _hasten()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"value": _VERBS[asked.pop("verb")](asked.pop("name"), **asked)}
        except Exception as error:
            text = str(error.args[0]) if error.args else str(error)
            answer = {"error": type(error).__name__, "told": text}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
