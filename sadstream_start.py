"""Where the installed commands begin: ours are the packages that are imported, whatever lies in somebody's folder.

`PYTHONPATH=.`, or an empty entry in it, puts the folder in which somebody works before the installed packages, and
Python puts it first for every `python -m` that we start: a `train.py`, `sadstream.py` or `token.py` there would be run
in place of ours or of the standard library's. Only `os` and `sys` are imported before that is mended: Python has
loaded both already.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  pathlib may be somebody's


def sadstream() -> None:
    """The command `sadstream`."""
    find_ours()
    from sadstream.base.boundary import enter_module

    enter_module("sadstream.cli.main", "sadstream")


def train() -> None:
    """The command `sadstream-train`."""
    find_ours()
    from sadstream.base.boundary import enter_module

    enter_module("train.cli", "sadstream-train")


def find_ours() -> None:
    """Import both packages from where this file lies, and look for nothing in the folder in which somebody works."""
    sys.path[:] = [entry for entry in sys.path if not _is_the_users(entry)]
    kept = [entry for entry in os.environ.pop("PYTHONPATH", "").split(os.pathsep) if not _is_the_users(entry)]
    if kept:
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)
    os.environ["PYTHONSAFEPATH"] = "1"  # for the processes that we start
    sys.path.insert(0, HERE)
    import sadstream
    import train

    assert sadstream.__file__
    assert train.__file__
    sys.path.remove(HERE)


def _is_the_users(entry: str) -> bool:
    try:
        folder = os.path.realpath(os.getcwd())  # noqa: PTH109
    except OSError:  # deleted: nothing lies in it
        return not entry
    found = os.path.realpath(entry) if entry else folder
    return found == folder != HERE
