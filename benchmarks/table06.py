"""Table 6: the Transformer's width (Sec. 4.2.2).

500 epochs, 20 % of the training cases held out (Sec. 4.2), 3+3 layers and three scales, which give
the paper's counts. At a small setting the widths are scaled as its network is: row 192 is that
network's own.

    python benchmarks/table06.py --setting small --data phantom --seeds 3
"""

from runner import main
from settings import Row, Table, transformer

TABLE = Table(
    name="table06",
    title="Transformer of other widths, 3+3 layers",
    final="192",
    rows=(
        Row("96", transformer(width=96), {"parameters": 36.49, "dice": 71.55, "hd": 22.58}),
        Row("192", transformer(width=192), {"parameters": 39.05, "dice": 73.79, "hd": 18.95}),
        Row("384", transformer(width=384), {"parameters": 48.21, "dice": 73.37, "hd": 18.61}),
        Row("768", transformer(width=768), {"parameters": 82.67, "dice": 72.02, "hd": 23.18}),
    ),
)

if __name__ == "__main__":
    main(TABLE)
