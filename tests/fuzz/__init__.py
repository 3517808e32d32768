"""Mutations of valid inputs, each fed to what reads them: `python -m fuzz --help`."""
