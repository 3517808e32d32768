"""What a file really holds, and the samples in it. Nothing is exported here."""
