"""Several processes fit a head once, in the main one, and all train from it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, pathlib, sys
import numpy as np, torch
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.data.case import Case
from mots_pretrained.training import finetune as module
from mots_pretrained.training.recipe import Recipe
from mots_pretrained.weights.fingerprint import weights_sha256

fit = module.fit_head
def counted(*arguments, **options):
    print("fits", os.environ["RANK"], flush=True)
    return fit(*arguments, **{**options, "steps": 30})

if __name__ == "__main__":
    torch.set_num_threads(1)
    module.fit_head = counted
    torch.manual_seed(int(os.environ["RANK"]))  # heads differ before
    net = Segmenter.from_pretrained(sys.argv[1], classes=("box",), head="levels")
    image = np.full((1, 32, 32, 32), -0.5, np.float32)
    target = np.zeros((1, 32, 32, 32), np.uint8)
    image[0, 4:24, 4:24, 4:24], target[0, 4:24, 4:24, 4:24] = 0.5, 1
    history = module.finetune(net, [Case(image, target)], Recipe(steps=2, train=sys.argv[2]))
    found = {"weights": weights_sha256(net.state_dict()), "fitted": history.fitted}
    pathlib.Path(sys.argv[3], os.environ["RANK"]).write_text(json.dumps(found))
"""


@pytest.mark.long
@pytest.mark.parametrize("train", ["head", "all"])
def test_the_main_process_fits_and_all_have_its_head(tiny, tmp_path, train):
    from mots_pretrained.methods import METHODS

    METHODS["transdodnet"](tiny).save_pretrained(tmp_path / "start")
    (tmp_path / "run.py").write_text(SCRIPT)
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
             tmp_path / "run.py", tmp_path / "start", train, tmp_path]  # fmt: skip
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=True, timeout=300
    )
    assert [line for line in done.stdout.splitlines() if line.startswith("fits")] == ["fits 0"]
    main, other = (json.loads((tmp_path / rank).read_text()) for rank in "01")
    assert main == other
