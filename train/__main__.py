"""`python -m train`: the same as `sadstream-train`."""

from train.cli import main

main()
