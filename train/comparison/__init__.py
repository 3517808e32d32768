"""Runs and corpora beside each other. Nothing is exported here."""
