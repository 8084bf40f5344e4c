"""Table 7: multi-scale attention (Sec. 4.2.2).

500 epochs, 20 % of the training cases held out (Sec. 4.2), d 192 and 3+3 layers.

    python benchmarks/table07.py --setting small --data phantom --seeds 3
"""

from runner import main
from settings import Row, Table, transformer

TABLE = Table(
    name="table07",
    title="Scales of deformable attention, d 192, 3+3 layers",
    final="3",
    rows=(
        Row("1", transformer(levels=1), {"dice": 72.8, "hd": 20.27}),
        Row("2", transformer(levels=2), {"dice": 73.36, "hd": 19.11}),
        Row("3", transformer(levels=3), {"dice": 73.79, "hd": 18.95}),
    ),
)

if __name__ == "__main__":
    main(TABLE)
