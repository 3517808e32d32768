"""Where pretrained weights come from: hubs, packages, a folder at hand. Nothing is exported here."""
