"""Pretrained weights: which there are, where they lie, each byte of them. What they are good for is never known."""
