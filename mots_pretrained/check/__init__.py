"""What ``mots check`` looks for in the original collections: labels, grids, anatomy, duplicates."""
