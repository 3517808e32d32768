"""Whose voice a segment is, and who is scored. Nothing is exported here."""
