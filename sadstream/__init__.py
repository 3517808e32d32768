"""sadstream hears sadness: live speech in, calibrated sad scores out over ZeroMQ."""

import os

TYPE_CHECKING = False  # typing's own takes 8 ms to import

__version__: str  # of the installation, made from the git tag; looked up when asked for, because that takes 20 ms

# Must be set before torch loads OpenMP. Waiting threads that spin cost a transcript 2.1 s instead of 0.7 s as soon as
# another program wants one of two cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if not TYPE_CHECKING:  # or a name that is not there would be a str to mypy

    def __getattr__(name):
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("sadstream")
        except PackageNotFoundError:  # nobody installed it: a folder on PYTHONPATH
            return "0.0.0+unknown"
