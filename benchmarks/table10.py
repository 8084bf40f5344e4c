"""Table 10, Figs. 10 and 11: what pretrained weights are worth on BCV, and on BraTS (Sec. 4.5).

BCV's 30 labelled scans are split in half, as written down in ``data.layouts.bcv``; of BraTS, which
the paper has not in this table, a fifth is held out. Each row is one network with the
same head, steps and patches, begun from other weights.

    python benchmarks/table10.py --setting small --seeds 3
    python benchmarks/table10.py --setting paper --data BCV/RawData/Training --device cuda \\
        --singlept DIR --byol3d DIR --mots-star DIR --mots DIR
"""

from transfer import ORIGINS, Transfer
from transfer_runner import main

BCV = Transfer(
    name="table10_bcv",
    title="Table 10: starts of a fine-tuning on BCV",
    kind="bcv",
    rows={
        "TFS": {"dice": 81.53, "hd": 8.14},
        "SinglePT": {"dice": 81.68, "hd": 8.02},
        "BYOL-3D": {"dice": 82.31, "hd": 7.89},
        "MOTS*": {"dice": 82.51, "hd": 7.77},
        "MOTS": {"dice": 83.19, "hd": 7.44},
    },
)

BRATS = Transfer(
    name="table10_brats",
    title="Table 10's starts of a fine-tuning, on BraTS; the paper prints no such table",
    kind="brats",
    rows={name: {} for name in ORIGINS},
)

if __name__ == "__main__":
    main((BCV, BRATS))
