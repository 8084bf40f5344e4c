"""Full disks, places that can't be written, two commands in one folder, a jumping clock."""

from __future__ import annotations

import os
import random
import resource
import shutil
from pathlib import Path

from faults.damage import unfinished
from faults.kills import finish, plain, require, same
from faults.processes import (
    Inside,
    at_change,
    die,
    jumping_clock,
    make_readonly,
    mount_small,
    pause,
)
from faults.world import WORDS, World, contents

ROOM = 64 << 20


def full_disk(world: World, command: str, rng: random.Random) -> None:
    """Let a command run on a disk that fills up; it goes on once there is room.

    The disk is a small one in memory where mounting is allowed, else a limit on the size of files.
    """
    folder = world.room()
    if not world.mounts:
        return file_size(world, command, rng)
    mount_small(folder, ROOM)
    world.furnish(folder)
    full = rng.randrange(4096, _size(world, command))
    mount_small(folder, max(4096, full // 4096 * 4096))
    plain(world.start(command, folder).end())
    mount_small(folder, ROOM)
    finish(world, command, folder)


def file_size(world: World, command: str, rng: random.Random) -> None:
    """Let no file of a command grow beyond a limit."""
    folder = world.room()
    limit = rng.randrange(800, 1200)  # what is said has room
    plain(world.start(command, folder, _limited(limit)).end())
    finish(world, command, folder)


def _limited(limit: int) -> Inside:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _size(world: World, command: str) -> int:
    """Return about how many bytes a command writes."""
    folder = world.root / "sizes" / command
    if not folder.exists():
        room = world.room()
        require(world.start(command, room).end().status == 0, command)
        folder.parent.mkdir(exist_ok=True)
        size = sum(p.lstat().st_size for p in room.rglob("*") if not p.is_symlink())
        folder.write_text(str(size))
    return int(folder.read_text())


def file_in_the_way(world: World, command: str, rng: random.Random) -> None:
    """Have a file stand where the output is to be a folder."""
    folder = world.room()
    (folder / "out").write_bytes(b"mine")
    end = world.start(command, folder).end()
    plain(end)
    require(end.status == 2, end)
    require((folder / "out").read_bytes() == b"mine", "the file was written over")
    (folder / "out").unlink()
    finish(world, command, folder)


def too_long(world: World, command: str, rng: random.Random) -> None:
    """Ask for an output whose path is too long for the system."""
    folder = world.room()
    words = [*WORDS[command]]
    part = "x" * rng.choice([300, 200])
    words[words.index("-o") + 1] = "/".join([part] * (1 if len(part) > 255 else 30))
    end = world.start(command, folder, words=words).end()
    plain(end)
    require(end.status == 2, end)
    finish(world, command, folder)


def read_only(world: World, command: str, rng: random.Random) -> None:
    """Ask for an output where nothing can be written."""
    folder = world.room()
    (folder / "out").mkdir()
    if world.mounts:
        mount_small(folder, ROOM)
        world.furnish(folder)
        make_readonly(folder, True)
    else:
        folder.chmod(0o555)
        (folder / "out").chmod(0o555)
    end = world.start(command, folder).end()
    if world.mounts:
        make_readonly(folder, False)
    else:
        folder.chmod(0o755)
        (folder / "out").chmod(0o755)
    plain(end)
    require(end.status == 2, end)
    finish(world, command, folder)


def two(world: World, command: str, rng: random.Random) -> None:
    """Start a command in a folder in which the same one is in the midst of its work."""
    folder = world.room()
    at = rng.randint(world.changes[command] // 3, world.changes[command] - 2)
    first = world.start(command, folder, at_change(at, pause(folder)))
    waiting = folder.parent / f"{folder.name}.waiting"
    while not waiting.exists():
        require(first.ended(within=0.01) is None, "it has not waited")
    told = first.told.rename(first.told.with_suffix(".first"))
    first.told = told
    end = world.start(command, folder).end()
    if command == "predict":  # parts of a folder of scans may be predicted side by side
        require(end.status == 0, end)
    else:
        plain(end)
        require("another run is writing" in end.said, end)
    (folder.parent / f"{folder.name}.go").touch()
    end = first.end()
    require(end.status == 0, end)
    same(world.expected[command], folder)


def clock(world: World, command: str, rng: random.Random) -> None:
    """Let the clock jump while a command runs that is killed, and files be of another year."""
    folder = world.room()
    at = rng.randint(world.changes[command] // 3, world.changes[command])
    jumps = jumping_clock(rng.randrange(1 << 30))

    def inside() -> None:
        jumps()
        at_change(at, die())()

    world.start(command, folder, inside).end()
    for path in (folder / "out").rglob("*"):
        when = 1e9 * rng.uniform(0.1, 4)
        os.utime(path, (when, when))
    end = world.start(command, folder, jumps).end()
    require(end.status == 0, end)
    same(world.expected[command], folder)


def input_changed(world: World, command: str, rng: random.Random) -> None:
    """Change an input while a command runs: its rerun ends with what the new input gives."""
    if command == "finetune":
        return other_labels(world, rng)
    name = {"prepare": "mots", "predict": "scans"}[command]
    folder = world.room(name)
    at = rng.randint(world.changes[command] // 4, 3 * world.changes[command] // 4)
    running = world.start(command, folder, at_change(at, pause(folder)))
    waiting = folder.parent / f"{folder.name}.waiting"
    while not waiting.exists():
        require(running.ended(within=0.01) is None, "it has not waited")
    _change(rng.choice(sorted((folder / name).rglob("[!.]*.nii.gz"))))
    (folder.parent / f"{folder.name}.go").touch()
    running.end()
    end = world.start(command, folder).end()
    clean = world.room()
    (clean / name).unlink()
    (clean / name).symlink_to(folder / name)
    wanted = world.start(command, clean).end()
    require(wanted.status == 0, wanted)
    require(end.status == 0, end)
    same(contents(clean / "out"), folder)


def other_labels(world: World, rng: random.Random) -> None:
    """Change a case of a training that was killed: it is refused until the case is put back."""
    folder = unfinished(world, "finetune")
    (folder / "labelled").unlink()
    shutil.copytree(world.root / "labelled", folder / "labelled")
    _change(rng.choice(sorted((folder / "labelled").rglob("*.nii.gz"))))
    end = world.start("finetune", folder).end()
    plain(end)
    require(end.status == 2 and "content" in end.said, end)
    shutil.rmtree(folder / "labelled")
    (folder / "labelled").symlink_to(world.root / "labelled")
    finish(world, "finetune", folder)


def _change(path: Path) -> None:
    """Replace a scan or label map by another of the same grid."""
    import nibabel as nib
    import numpy as np

    image = nib.load(path)
    data = np.asanyarray(image.dataobj)
    made = nib.Nifti1Image(np.ascontiguousarray(data[::-1]), image.affine, image.header)
    draft = path.with_name("draft.nii.gz")
    nib.save(made, draft)
    os.replace(draft, path)
