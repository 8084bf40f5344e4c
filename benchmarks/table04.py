"""Table 4: what generates the kernels (Sec. 4.2.2).

500 epochs, 20 % of the training cases held out (Sec. 4.2). The Transformer has one layer each, d
384 and three scales, which give the paper's 40.52 M. Convolution* has two more blocks in the
encoder's last stage: 42.49 M.

    python benchmarks/table04.py --setting small --data phantom --seeds 3
"""

from runner import main
from settings import Row, Table, ablated, method

TABLE = Table(
    name="table04",
    title="Kernel generators",
    final="Transformer",
    rows=(
        Row("Convolution", method("dodnet"), {"parameters": 35.31, "dice": 70.52, "hd": 26.40}),
        Row(
            "Convolution*",
            method("dodnet", extra_blocks=2),
            {"parameters": 42.49, "dice": 70.98, "hd": 23.95},
        ),
        Row("Transformer", ablated(), {"parameters": 40.52, "dice": 72.30, "hd": 20.74}),
    ),
)

if __name__ == "__main__":
    main(TABLE)
