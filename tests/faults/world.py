"""What the suite's commands work on: tiny phantoms, a network and a Hub; and the commands."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faults.processes import Inside, Running, count_changes, start

SEED = 20221106
COMMANDS = ("prepare", "pretrain", "finetune", "predict", "download")
LOG_EVERY = 5  # steps from a checkpoint to the next, in place of the trainer's 10
STEPS = 3 * LOG_EVERY
SHAPE = (24, 32, 32)

_TRAIN = (
    "--from",
    "net",
    "--device",
    "cpu",
    "--workers",
    "0",
    "--resume",
    "-q",
    "--set",
    "batch=1",
    "--set",
    "checkpoint_minutes=0",
    "--set",
    "augmentation=none",
)
WORDS: dict[str, tuple[str, ...]] = {
    "prepare": ("prepare", "-i", "mots", "-o", "out", "--contract", "net", "--split", "seeded",
                "--workers", "1", "-q"),
    "pretrain": ("pretrain", "-i", "prepared", "-o", "out", *_TRAIN, "--set", f"steps={STEPS}"),
    "finetune": ("finetune", "-i", "labelled", "-o", "out", *_TRAIN, "--steps", f"{2 * LOG_EVERY}",
                 "--val", "1", "--set", "fit_steps=10"),
    "predict": ("predict", "-i", "scans", "-o", "out", "-m", "net", "--device", "cpu", "-q",
                "--no-picture", "--masks", "--tasks", "liver,kidney", "--skip-existing"),
    "download": ("models", "download", "org/net", "-o", "out", "-q"),
}  # fmt: skip
_TIMES = re.compile(rb'("seconds": )[0-9.]+')


@dataclass
class World:
    """The materials, which no command changes, and what each command leaves undisturbed.

    Attributes:
        root: Where all of it lies.
        expected: What each command leaves: contents by file.
        seconds: What each took.
        changes: How many changes of files each made.
    """

    root: Path
    address: str = ""
    mounts: bool = False
    expected: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    changes: dict[str, int] = field(default_factory=dict)
    _count: int = 0

    def room(self, *copies: str, parent: str = "runs") -> Path:
        """Make a folder to run a command in; materials are links, or copies of their own."""
        self._count += 1
        folder = self.root / parent / f"{self._count:03d}"
        folder.mkdir(parents=True)
        self.furnish(folder, *copies)
        return folder

    def furnish(self, folder: Path, *copies: str) -> None:
        """Put the materials into a folder."""
        for name in ("mots", "prepared", "labelled", "scans", "net"):
            if not (self.root / name).exists():
                continue
            if name in copies:
                shutil.copytree(self.root / name, folder / name)
            else:
                (folder / name).symlink_to(self.root / name)

    def start(
        self,
        command: str,
        folder: Path,
        inside: Inside | None = None,
        words: Sequence[str] | None = None,
    ) -> Running:
        """Start a command, by other words where they are given; a download sees the Hub here."""

        def seeing_the_hub() -> None:
            os.environ.update(self.environment(folder))
            for name in [*sys.modules]:
                if name.partition(".")[0] == "huggingface_hub":  # it reads that once
                    del sys.modules[name]
            if inside is not None:
                inside()

        within = seeing_the_hub if command == "download" else inside
        return start(words or WORDS[command], folder, within)

    def environment(self, folder: Path) -> dict[str, str]:
        """Return what a download sees: the Hub here, and a cache within the folder."""
        return {
            "HF_HOME": str(folder / "hf"), "HF_ENDPOINT": self.address, "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }  # fmt: skip

    def undisturbed(self, command: str) -> None:
        """Run a command once, and keep what it leaves."""
        folder = self.room()
        count = self.root / "count"
        began = time.monotonic()
        end = self.start(command, folder, count_changes(count)).end()
        assert end.status == 0, (command, end)
        self.seconds[command] = time.monotonic() - began
        self.changes[command] = int(count.read_text())
        self.expected[command] = contents(folder / "out")


def build(root: Path, commands: tuple[str, ...]) -> World:
    """Make the materials, and run every command once."""
    import torch
    from small_networks import small

    from mots_pretrained.config import Preprocessing
    from mots_pretrained.methods import METHODS
    from mots_pretrained.phantom.collections import write_collection
    from mots_pretrained.training import trainer

    torch.set_num_threads(1)
    trainer.LOG_EVERY = LOG_EVERY  # of this process, and so of those that it forks
    world = World(root)
    size = (16, 32, 64)
    contract = Preprocessing(spacing=(32.0, 16.0, 8.0), patch=size, window=size)
    torch.manual_seed(SEED)
    METHODS["transdodnet"](small(preprocessing=contract)).save_pretrained(root / "net")
    write_collection("mots", root / "mots", cases=2, seed=SEED, shape=SHAPE)
    shutil.rmtree(root / "mots" / "complete_labels")
    for name in ("Task06_Lung", "Task08_HepaticVessel", "Task10_Colon", "kits19", "LiTS"):
        shutil.rmtree(root / "mots" / name)
    for number, path in enumerate(sorted((root / "mots").rglob("imagesTr/[!.]*.nii.gz"))[:3]):
        for folder, source in (("images", path), ("labels", _label(path))):
            place = root / "labelled" / folder
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place / f"c{number}.nii.gz")
        (root / "scans").mkdir(exist_ok=True)
        shutil.copy(path, root / "scans" / f"s{number}.nii.gz")
    folder = world.room()
    end = start(WORDS["prepare"], folder).end()
    assert end.status == 0, end
    shutil.move(folder / "out", root / "prepared")
    for command in commands:
        if command != "download":
            world.undisturbed(command)
    return world


def _label(path: Path) -> Path:
    return path.parent.parent / "labelsTr" / path.name


def serve(root: Path) -> str:
    """Serve a Hub with the network from a process of its own, which ends with this one."""
    reading, writing = os.pipe()
    parent = os.getpid()
    if os.fork() == 0:
        from small_hub import small_hub

        with small_hub() as hub:
            hub.add("org/net", {p.name: p.read_bytes() for p in (root / "net").iterdir()})
            os.write(writing, hub.address.encode())
            os.close(writing)
            while os.getppid() == parent:
                time.sleep(0.2)
        os._exit(0)
    os.close(writing)
    address = os.read(reading, 200).decode()
    os.close(reading)
    return address


def contents(folder: Path) -> dict[str, str]:
    """Return every file of a folder with a digest of what it says, times left out.

    Hidden files count, so that nothing half-written may be left; only the lock is passed over, and
    run.log, which tells of every run.
    """
    return {
        path.relative_to(folder).as_posix(): _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", "run.log")
    }


def _digest(path: Path) -> str:
    data = path.read_bytes()
    if path.name == "log.csv":
        rows = [*csv.reader(io.StringIO(data.decode()))]
        data = repr([row[:-1] for row in rows]).encode()
    elif path.name == "training.json":
        data = _TIMES.sub(rb"\g<1>0", data)
    elif path.name.endswith("_volumes.json"):
        told = json.loads(data)
        told["files"] = [os.path.basename(file) for file in told["files"]]
        data = json.dumps(told).encode()
    return hashlib.sha256(data).hexdigest()
