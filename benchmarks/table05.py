"""Table 5: the Transformer's depth (Sec. 4.2.2).

500 epochs, 20 % of the training cases held out (Sec. 4.2), d 384 and three scales, which give the
paper's counts.

    python benchmarks/table05.py --setting small --data phantom --seeds 3
"""

from runner import main
from settings import Row, Table, transformer

TABLE = Table(
    name="table05",
    title="Transformer encoder + decoder layers, d 384",
    final="3+3",
    rows=(
        Row(
            "1+1",
            transformer(width=384, encoder=1, decoder=1),
            {"parameters": 40.52, "dice": 72.3, "hd": 20.74},
        ),
        Row(
            "3+1",
            transformer(width=384, encoder=3, decoder=1),
            {"parameters": 43.77, "dice": 72.62, "hd": 20.31},
        ),
        Row(
            "1+3",
            transformer(width=384, encoder=1, decoder=3),
            {"parameters": 44.96, "dice": 72.57, "hd": 20.59},
        ),
        Row(
            "3+3",
            transformer(width=384, encoder=3, decoder=3),
            {"parameters": 48.21, "dice": 73.37, "hd": 18.61},
        ),
        Row(
            "6+6",
            transformer(width=384, encoder=6, decoder=6),
            {"parameters": 59.74, "dice": 73.07, "hd": 19.31},
        ),
    ),
)

if __name__ == "__main__":
    main(TABLE)
