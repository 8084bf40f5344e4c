"""torchrun's elastic restart: one of two processes is killed, and both resume to the same bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, pathlib, signal, sys, threading, time

def die(folder, marker):
    while not (folder / "checkpoint.safetensors").exists():
        time.sleep(0.002)
    marker.touch()
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    folder, marker = map(pathlib.Path, sys.argv[1:3])
    if os.environ["RANK"] == "1" and not marker.exists():
        threading.Thread(target=die, args=(folder, marker), daemon=True).start()
    from mots_pretrained.cli import main
    sys.exit(main(["pretrain", "-o", str(folder), "--resume", "--device", "cpu", *sys.argv[3:]]))
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_killed_and_restarted_by_torchrun_two_processes_end_with_the_same_bits(tiny, tmp_path):
    from mots_pretrained.methods import METHODS

    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    (tmp_path / "run.py").write_text(SCRIPT)
    sets = ("steps=40", "batch=1", "checkpoint_minutes=0", "randomise=0", "phantoms=2",
            "replay=20", "patches_per_case=2", "rate=0.003")  # fmt: skip
    train = ["--from", tmp_path / "start", "--workers", "0", "-q"]
    train += [word for one in sets for word in ("--set", one)]

    def torchrun(name: str, marker: Path, restarts: int) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1:1",
                 "--nproc-per-node", "2", "--max-restarts", restarts, "--rdzv-backend", "c10d",
                 "--rdzv-endpoint", "127.0.0.1:0", "--monitor-interval", "0.1",
                 tmp_path / "run.py", tmp_path / name, marker, *train]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo",
                       "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # fmt: skip
        return subprocess.run(
            [*map(str, words)], env=environment, capture_output=True, text=True, timeout=170
        )

    marker = tmp_path / "killed"
    restarted = torchrun("restarted", marker, 1)
    assert restarted.returncode == 0, restarted.stderr[-3000:]
    assert marker.exists()
    whole = torchrun("whole", marker, 0)  # nobody dies once the marker is there
    assert whole.returncode == 0, whole.stderr[-3000:]
    one, other = (tmp_path / name for name in ("whole", "restarted"))
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    records = [json.loads((folder / "training.json").read_text()) for folder in (one, other)]
    assert [record["processes"] for record in records] == [2, 2]
    assert all(record["complete"] for record in records)
    assert not [*other.glob("checkpoint*")]
    log = (other / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in log[1:]] == ["10", "20", "30", "40"]
