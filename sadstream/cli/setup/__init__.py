"""The commands that make a machine ready: models, keys, configuration, service, doctor. Nothing is exported here."""
