"""The experiments and the making of the checkpoint: corpora in, figures, tables and weights out.

The daemon never imports it; it exports nothing, `python -m train` and `sadstream-train` are its face.
"""
