"""Files that are cut short, emptied, or have one bit flipped, between two runs of a command."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from faults.kills import finish, plain, require, same
from faults.processes import at_renaming, die
from faults.world import WORDS, World, start

KINDS = ("cut", "flip", "empty")


def hurt(path: Path, kind: str, rng: random.Random) -> None:
    """Damage a file, links followed."""
    data = bytearray(path.read_bytes())
    if kind == "flip":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    else:
        del data[0 if kind == "empty" else rng.randrange(1, len(data)) :]
    path.resolve().write_bytes(data)


def unfinished(world: World, command: str) -> Path:
    """Return a folder in which a training was killed that has two checkpoints."""
    kept = world.root / "unfinished" / command
    if not kept.exists():
        folder = world.room()
        third = at_renaming("checkpoint_before.safetensors", 2, die())
        end = world.start(command, folder, third).end()
        if end.status >= 0:  # it has but two
            folder = world.room()
            end = world.start(command, folder, at_renaming("training.json", 2, die())).end()
        require(end.status == -9, end)
        shutil.copytree(folder / "out", kept)
    folder = world.room()
    shutil.copytree(kept, folder / "out")
    return folder


def of_training(name: str):
    """Return what damages a file of an unfinished training, which must go on or say so."""

    def damaged(world: World, command: str, rng: random.Random, kind: str) -> None:
        folder = unfinished(world, command)
        before = (folder / "out" / name).read_bytes()
        hurt(folder / "out" / name, kind, rng)
        end = world.start(command, folder).end()
        if end.status != 0:
            plain(end)
            (folder / "out" / name).write_bytes(before)
            return finish(world, command, folder)
        same(world.expected[command], folder)

    return damaged


checkpoint = of_training("checkpoint.safetensors")
record = of_training("training.json")
log = of_training("log.csv")


def of_store(pattern: str):
    """Return what damages a file of a prepared folder, from which a training then learns."""

    def damaged(world: World, command: str, rng: random.Random, kind: str) -> None:
        folder = world.room("prepared")
        path = rng.choice(sorted((folder / "prepared").glob(pattern)))
        hurt(path, kind, rng)
        end = world.start(command, folder).end()
        if end.status != 0:
            plain(end)
            require(end.status == 2, end)
            again = [*WORDS["prepare"]]
            again[again.index("-o") + 1] = "prepared"
            made = start(again, folder).end()
            require(made.status == 0, made)
            return finish(world, command, folder)
        same(world.expected[command], folder)

    return damaged


voxels = of_store("cases/*/*.b2nd")
positions = of_store("cases/*/foreground.npy")
index = of_store("prepared.json")


def prepared_case(world: World, command: str, rng: random.Random, kind: str) -> None:
    """Damage a file of a case while its preparation is half done."""
    folder = world.room()
    end = world.start(command, folder, at_renaming("prepared.json", 2, die())).end()
    require(end.status == -9, end)
    hurt(rng.choice(sorted((folder / "out" / "cases").glob("*/*"))), kind, rng)
    finish(world, command, folder)


def cache(world: World, command: str, rng: random.Random, kind: str) -> None:
    """Damage a file of the cache, from which a model is then loaded."""
    folder = world.room()
    finish(world, command, folder)
    shutil.rmtree(folder / "out")
    hurt(rng.choice(sorted((folder / "hf").glob("hub/*/blobs/*"))), kind, rng)
    end = world.start(command, folder).end()
    if end.status != 0:
        plain(end)
        shutil.rmtree(folder / "hf")
        return finish(world, command, folder)
    same(world.expected[command], folder)


def weights(world: World, command: str, rng: random.Random, kind: str) -> None:
    """Damage the weights from which a command starts."""
    folder = world.room("net")
    path = folder / "net" / "model.safetensors"
    before = path.read_bytes()
    hurt(path, kind, rng)
    end = world.start(command, folder).end()
    if end.status != 0:
        plain(end)
        path.write_bytes(before)
        return finish(world, command, folder)
    same(world.expected[command], folder)
