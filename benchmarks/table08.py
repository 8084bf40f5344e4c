"""Table 8: variants of fusion (Sec. 4.2.3, Fig. 6).

500 epochs, 20 % of the training cases held out (Sec. 4.2), d 192, 3+3 layers and three scales. Mode
A: CNN and Transformer features; B: the CNN's only; C: the Transformer's only.

    python benchmarks/table08.py --setting small --data phantom --seeds 3
"""

from runner import main
from settings import Row, Table, transformer

TABLE = Table(
    name="table08",
    title="What the CNN decoder is given (Fig. 6), d 192, 3+3 layers",
    final="Mode-A",
    rows=(
        Row("Mode-A", transformer(fusion="A"), {"dice": 73.79, "hd": 18.95}),
        Row("Mode-B", transformer(fusion="B"), {"dice": 72.48, "hd": 20.87}),
        Row("Mode-C", transformer(fusion="C"), {"dice": 72.6, "hd": 20.6}),
    ),
)

if __name__ == "__main__":
    main(TABLE)
