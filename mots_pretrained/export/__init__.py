"""Networks for other programs: torch.export, ONNX, MONAI bundles; the contract as JSON beside."""
