"""`python -m sadstream`: the same as the command `sadstream`."""

from sadstream.cli.main import main

main()
