"""Layouts in which anybody may keep a corpus, each read into the manifest; never a corpus of one name."""
