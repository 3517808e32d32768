"""`python -m train.cli`: the same as `sadstream-train`."""

from train.cli import main

main()
