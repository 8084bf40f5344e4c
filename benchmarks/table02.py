"""Table 2: the dynamic head's depth (Sec. 4.2.1).

500 epochs, 20 % of the training cases held out (Sec. 4.2). The Transformer has one layer each and d
384; the text says one scale, the parameter counts of Table 4 say three: three here.

    python benchmarks/table02.py --setting small --data phantom --seeds 3
"""

from runner import main
from settings import Table, head_rows

ROWS = head_rows("depth", {2: (90, 72.11, 21.46), 3: (162, 72.3, 20.74), 4: (234, 71.43, 22.54)})
TABLE = Table(
    "table02", "Dynamic head of other depths, width 8", final="3", generated=True, rows=ROWS
)

if __name__ == "__main__":
    main(TABLE)
