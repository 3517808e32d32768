"""One corpus a file, in its official layout; `formats` holds those of anybody's. Nothing is exported here."""
