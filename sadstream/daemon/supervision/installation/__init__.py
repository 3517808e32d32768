"""The daemon on a machine under systemd: put there, and taken away. Nothing is exported here."""
