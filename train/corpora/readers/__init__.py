"""One corpus a file, in its official layout or as a table of one's own. Nothing is exported here."""
