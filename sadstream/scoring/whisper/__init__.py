"""The words of a segment, and whether they may count. Nothing is exported here."""
