"""The `sadstream-train` command."""

from train.cli.main import app, main

__all__ = ["app", "main"]
