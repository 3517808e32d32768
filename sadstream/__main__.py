"""`python -m sadstream`: the same as the command `sadstream`."""

from sadstream.base.boundary import enter_module

enter_module("sadstream.cli.main", "sadstream")
