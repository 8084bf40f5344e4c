"""Table 11: BCV's test set, with the mean surface distance (Sec. 4.5).

All labelled scans train, to the last step. The test set is ``--test RawData/Testing``, whose labels
are withheld: its label maps are written for the online evaluation. Without ``--test`` phantoms have
test scans of their own; of real data the half that Table 10 holds out is scored, with the networks
of that table.

    python benchmarks/table11.py --setting small --seeds 3
    python benchmarks/table11.py --setting paper --data BCV/RawData/Training \\
        --test BCV/RawData/Testing --mots-star DIR --mots DIR --submission OUT --device cuda
"""

from transfer import Transfer
from transfer_runner import main

BCV = Transfer(
    name="table11",
    title="Table 11: BCV's test set",
    kind="bcv",
    metrics=("dice", "hd", "msd"),
    held_out="test",
    rows={
        "TFS": {"dice": 87.28, "hd": 14.55, "msd": 1.49},
        "MOTS*": {"dice": 88.21, "hd": 13.11, "msd": 0.89},
        "MOTS": {"dice": 88.60, "hd": 12.83, "msd": 0.86},
    },
    printed={
        "Auto Context": {"dice": 78.24, "hd": 26.10, "msd": 1.94},
        "deedsJointCL": {"dice": 79.00, "hd": 25.50, "msd": 2.26},
        "DLTK": {"dice": 81.54, "hd": 62.87, "msd": 1.86},
        "PaNN": {"dice": 84.97, "hd": 18.47, "msd": 1.45},
        "nnUnet": {"dice": 88.10, "hd": 17.26, "msd": 1.39},
    },
)

if __name__ == "__main__":
    main((BCV,))
