"""The embedding of words, from a local folder only. Nothing is exported here."""
