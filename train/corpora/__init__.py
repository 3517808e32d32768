"""Corpora as utterances: one reader each, one manifest, the guards. What a model makes of them is never known."""
