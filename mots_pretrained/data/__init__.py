"""Data: from the public collections' files to what a network is fed (Sec. 4.1)."""
