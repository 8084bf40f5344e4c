"""The network of Fig. 4, one box a file."""
