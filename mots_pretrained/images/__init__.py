"""One scan: its array and geometry, its files, and the preprocessing of a model's contract."""
