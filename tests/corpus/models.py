"""Files of weights: safetensors cut and flipped, checkpoints, additions, pickles that would run."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from corpus.entries import Entry, Outcome, WrongError, generator, require
from safetensors.torch import save
from small_networks import small

from mots_pretrained.networks import build, load
from mots_pretrained.published import read_checkpoint
from mots_pretrained.training.folder import CHECKPOINT, load_checkpoint
from mots_pretrained.weights.addition import Addition
from mots_pretrained.weights.checkpoint import save_folder


class Bomb:
    """What makes a pickle run a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def entries(folder: Path) -> Iterator[Entry]:
    network = build(small())
    model = save_folder(folder / "model", network.config, network.state_dict())
    state = {name: torch.zeros(2, 3) for name in ("model/a", "optimizer/0/step", "kept/x")}
    training = {"identity": {"steps": 3}, "step": 1, "rows": [], "kept": {}, "seconds": 0.0}
    checkpoint = save(state, {"training": json.dumps(training)})
    facts = {"kind": "LoRA", "format_version": "1", "base_sha256": "ab", "facts": "{}"}
    addition = save({"x": torch.zeros(3)}, facts)
    weights = (model / "model.safetensors").read_bytes()
    for kind, name, sound, read in (
        ("model.safetensors", "model.safetensors", weights, lambda path: _network(path)),
        ("training checkpoint", CHECKPOINT, checkpoint, lambda path: _checkpoint(path)),
        (
            "LoRA or task file",
            "a.safetensors",
            addition,
            lambda path: Addition.load(path, kind="LoRA"),
        ),
    ):
        for number, (told, data) in enumerate(_safetensors(sound, kind)):
            home = folder / name.replace(".", "_") / str(number)
            home.mkdir(parents=True)
            if name == "model.safetensors":
                (home / "config.json").write_bytes((model / "config.json").read_bytes())
            (home / name).write_bytes(data)
            wanted: Outcome = "right" if told == "sound" else "either"
            yield Entry(kind, told, _reads(read, home / name), wanted)
    yield from _links(folder, model)
    yield from _pickles(folder)


def _reads(read: Callable[[Path], Any], path: Path) -> Callable[[], Any]:
    return lambda: read(path)


def _network(path: Path) -> None:
    network = load(path.parent)
    require(all(bool(w.isfinite().all()) for w in network.state_dict().values()), "NaN weights")


def _checkpoint(path: Path) -> None:
    state = load_checkpoint(path.parent)
    state.part("model")
    require(isinstance(state.values["identity"], dict), "no identity")
    require(isinstance(state.values["step"], int), "no step")


def _safetensors(sound: bytes, kind: str) -> Iterator[tuple[str, bytes]]:
    """Yield a file as it is, cut short, with bits flipped, and with headers that lie."""
    rng = generator("safetensors", kind)
    yield "sound", sound
    size = struct.unpack("<Q", sound[:8])[0]
    header, data = json.loads(sound[8 : 8 + size]), sound[8 + size :]
    for length in (0, 1, 7, 8, 9, size // 2, size + 7, size + 8, len(sound) // 2, len(sound) - 1):
        yield f"cut to {length} bytes", sound[:length]
    yield "with a tail", sound + b"tail"
    for length in (0, 1, 2**31, 2**63, 2**64 - 1, len(sound)):
        yield f"a header of {length} bytes", struct.pack("<Q", length) + sound[8:]
    for _ in range(10):
        damaged = bytearray(sound)
        damaged[rng.randrange(8 + size)] ^= 1 << rng.randrange(8)
        yield "a bit of the header flipped", bytes(damaged)
    first = next(name for name in header if name != "__metadata__")
    for told, change in (
        ("offsets beyond the end", {"data_offsets": [0, 10**15]}),
        ("offsets turned round", {"data_offsets": [4, 0]}),
        ("negative offsets", {"data_offsets": [-4, 0]}),
        ("a shape beyond all memory", {"shape": [10**9, 10**9]}),
        ("a negative shape", {"shape": [-1]}),
        ("an unknown type", {"dtype": "X128"}),
        ("whole numbers", {"dtype": "I32"}),
    ):
        yield told, _packed({**header, first: {**header[first], **change}}, data)
    for told, odd in (
        ("metadata that are no texts", {"__metadata__": {"training": 3, "kind": None}}),
        ("metadata that are no JSON", {"__metadata__": {"training": "{", "facts": "{", **_KIND}}),
        ("metadata that are a list", {"__metadata__": {"training": "[]", "facts": "[]", **_KIND}}),
        ("metadata nested deeply", {"__metadata__": {"training": "[" * 9999, **_KIND}}),
        ("no metadata", {"__metadata__": {}}),
    ):
        yield told, _packed({**header, **odd}, data)
    yield "a name that is a path", _packed({**header, "../../x": header[first]}, data)
    yield "a list for a header", _packed([], data)
    yield "a header nested deeply", struct.pack("<Q", 20_000) + b"[" * 20_000
    nan = struct.pack("<f", float("nan")) * (len(data) // 4)
    yield "NaN throughout", _packed(header, nan)
    yield "a pickle", pickle.dumps({"a": 1})


_KIND = {"kind": "LoRA", "format_version": "1"}


def _packed(header: Any, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _links(folder: Path, model: Path) -> Iterator[Entry]:
    """Folders of models whose files are links to elsewhere."""
    secret = folder / "secret"
    secret.write_text("secret")
    for name in ("config.json", "model.safetensors", "README.md"):
        for told, target in (
            ("out of the folder", model / name),
            ("to a secret", secret),
            ("to itself", None),
            ("to a device", Path("/dev/zero")),
            ("to nothing", Path("/nowhere/at/all")),
        ):
            home = folder / f"link_{name}_{told.replace(' ', '_')}"
            home.mkdir()
            for file in model.iterdir():
                if file.name != name:
                    (home / file.name).write_bytes(file.read_bytes())
            (home / name).symlink_to(home / name if target is None else target)

            def read(home: Path = home) -> None:
                from mots_pretrained.publishing import make_publishable

                make_publishable(home, home.with_name(f"{home.name}_out"))

            yield Entry(
                "links in a model's folder",
                f"{name} leads {told}",
                read,
                "either" if target is None else "refused",
            )


def _pickles(folder: Path) -> Iterator[Entry]:
    """Checkpoints that would run something, and others that are none."""
    rng = generator("pickles")
    place = folder / "pickles"
    place.mkdir()
    ran = place / "ran"
    made = {
        "a pickle that runs a command": pickle.dumps({"state_dict": Bomb(ran)}),
        "an empty file": b"",
        "noise": rng.randbytes(500),
        "a pickle cut short": pickle.dumps({"a": list(range(1000))})[:50],
    }
    for name, data in made.items():
        (place / f"{len(name)}.pth").write_bytes(data)
    torch.save({"state_dict": Bomb(ran)}, place / "bomb.pth")
    torch.save({"state_dict": {"a": torch.zeros(3)}}, place / "other.pth")
    torch.save([1, 2], place / "list.pth")
    torch.save({"a": {"b": {"c": {"d": {"e": {"f": torch.zeros(1)}}}}}}, place / "deep.pth")
    with zipfile.ZipFile(place / "zip.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(50_000_000))
    with zipfile.ZipFile(place / "path.pth", "w") as file:
        file.writestr("../../../ran", b"x")
    for path in sorted(place.glob("*.pth")):

        def read(path: Path = path) -> None:
            try:
                read_checkpoint(path)
            finally:
                if ran.exists():
                    raise WrongError("the file has run something")

        yield Entry("published checkpoint", path.name, read, "refused")
