"""Processes that are killed, at moments of chance, and workers of theirs."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

from faults.processes import Ended, at_change, die, start
from faults.world import WORDS, World, contents


class LostError(AssertionError):
    """What the command had done, or was to do, is lost."""


def require(condition: bool, why: object) -> None:
    if not condition:
        raise LostError(f"{why}")


def finish(world: World, command: str, folder: Path) -> None:
    """Start a command once more, which must end with what an undisturbed run leaves."""
    end = world.start(command, folder).end()
    require(end.status == 0, end)
    same(world.expected[command], folder)


def same(expected: dict[str, str], folder: Path) -> None:
    found = contents(folder / "out")
    other = sorted(n for n in {*expected, *found} if expected.get(n) != found.get(n))
    require(not other, f"not as undisturbed: {other}")


def plain(end: Ended) -> None:
    """Require that a command has said in one plain line what is wrong."""
    require(end.status in (1, 2), end)
    require(len(end.errors) == 1, end)
    require(end.status == 1 or end.errors[0].startswith("error: "), end)
    require("Traceback" not in end.said and "a fault of mots" not in end.said, end)


def kill_in_time(world: World, command: str, rng: random.Random, number: int) -> None:
    """Kill a command after a share of the time that it takes."""
    folder = world.room()
    share = rng.uniform(0.05, 0.95)
    for _ in range(6):
        running = world.start(command, folder)
        end = running.ended(within=share * world.seconds[command])
        if end is None:
            running.kill(number)
            end = running.end()
        if end.status == -number:
            return finish(world, command, folder)
        require(end.status == 0, end)
        folder, share = world.room(), share / 2  # it was too quick for that
    raise AssertionError(f"{command} could not be killed")


def kill_at_change(world: World, command: str, rng: random.Random, number: int) -> None:
    """Kill a command right before one of its changes of files."""
    folder = world.room()
    at = rng.randint(1, world.changes[command])
    end = world.start(command, folder, at_change(at, die(number))).end()
    require(end.status == -number, end)
    finish(world, command, folder)


def sigkill(world: World, command: str, rng: random.Random) -> None:
    kill_in_time(world, command, rng, signal.SIGKILL)


def sigterm(world: World, command: str, rng: random.Random) -> None:
    kill_in_time(world, command, rng, signal.SIGTERM)


def sigkill_at_change(world: World, command: str, rng: random.Random) -> None:
    kill_at_change(world, command, rng, signal.SIGKILL)


def worker(world: World, command: str, rng: random.Random) -> None:
    """Kill a worker process of a command: it stops and says so, and its rerun goes on."""
    folder = world.room()
    words = [*WORDS[command]]
    words[words.index("--workers") + 1] = "2" if command == "prepare" else "1"
    running = start(words, folder)
    killed = False
    while not killed:
        before = _busy(running.workers())
        require(running.ended(within=rng.uniform(0.05, 0.1)) is None, "there was no worker")
        for pid in [one for one in _busy(running.workers()) if one in before][:1]:
            os.kill(pid, signal.SIGKILL)
            killed = True
    plain(running.end())
    finish(world, command, folder)


def _busy(workers: list[int]) -> list[int]:
    """Return those that are no resource tracker of multiprocessing."""
    kept = []
    for pid in workers:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"resource_tracker" not in words:
            kept.append(pid)
    return kept
