"""New heads and new inputs on pretrained weights (Sec. 3.7)."""
