"""Table 2: the dynamic head's depth (Sec. 4.2.1).

500 epochs, 20 % of the training cases held out (Sec. 4.2). The Transformer has one layer each and d
384; the text says one scale, the parameter counts of Table 4 say three: three here.

    python benchmarks/table02.py --setting small --data phantom --seeds 3
"""

from runner import main
from settings import Row, Table, ablated

from mots_pretrained.config import HeadConfig

TABLE = Table(
    name="table02",
    title="Dynamic head of other depths, width 8",
    final="3",
    generated=True,
    rows=(
        Row("2", ablated(HeadConfig(depth=2)), {"parameters": 90, "dice": 72.11, "hd": 21.46}),
        Row("3", ablated(HeadConfig(depth=3)), {"parameters": 162, "dice": 72.3, "hd": 20.74}),
        Row("4", ablated(HeadConfig(depth=4)), {"parameters": 234, "dice": 71.43, "hd": 22.54}),
    ),
)

if __name__ == "__main__":
    main(TABLE)
