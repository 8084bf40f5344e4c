"""Table 12: BraTS 2018, files for its online evaluation and scores of our own (Sec. 4.5).

The paper's text has the averages only. Its HD is taken to be the online evaluation's, the 95th
percentile. All labelled cases train, to the last step. The evaluation's scans are ``--test
Validation``, whose labels are withheld. Without ``--test`` phantoms have test scans of their own,
and of real data the fifth that Table 10's script holds out is scored, with its networks.

    python benchmarks/table12.py --setting small --seeds 3
    python benchmarks/table12.py --setting paper --data BraTS18/Training \\
        --test BraTS18/Validation --mots DIR --submission OUT --device cuda
"""

from transfer import Transfer
from transfer_runner import main

BRATS = Transfer(
    name="table12",
    title="Table 12: BraTS 2018",
    kind="brats",
    metrics=("dice", "hd95"),
    held_out="test",
    rows={"TFS": {"dice": 85.74, "hd95": 4.74}, "MOTS": {"dice": 86.18, "hd95": 4.39}},
)

if __name__ == "__main__":
    main((BRATS,))
