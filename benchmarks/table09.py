"""Table 9: the seven methods (Sec. 4.4).

1000 epochs, scored on the test set, the final network's size; the channels of Multi-Head's
decoders are halved, as in the paper. By category the table is printed in the paper's shape.

    python benchmarks/table09.py --setting small --data phantom --seeds 3
"""

from runner import main
from settings import Row, Table, method

from mots_pretrained.published.table9 import PAPER_MEANS

NAMES = {
    "Multi-Nets": "multi_nets",
    "TAL": "tal",
    "Multi-Head": "multi_head",
    "Cond-Input": "cond_input",
    "Cond-Dec": "cond_dec",
    "DoDNet": "dodnet",
    "TransDoDNet": "transdodnet",
}

TABLE = Table(
    name="table09",
    title="Methods for partially labelled tasks",
    final="TransDoDNet",
    epochs=1000,
    held_out="test",
    rows=tuple(
        Row(title, method(name), dict(zip(("dice", "hd"), PAPER_MEANS[title], strict=True)))
        for title, name in NAMES.items()
    ),
)

if __name__ == "__main__":
    main(TABLE)
