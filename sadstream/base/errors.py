"""The few ways sadstream can fail, each with the exit code that a supervisor sees."""


class SadstreamError(Exception):
    """A failure that ends a command with one line on standard error and a documented exit code."""

    exit_code = 1


class UsageError(SadstreamError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class DataError(SadstreamError):
    """A recording, corpus or message is there but cannot be read as what it claims to be."""

    exit_code = 65


class MissingFileError(SadstreamError):
    """A file that was named is not there."""

    exit_code = 66


class UnavailableError(SadstreamError):
    """A model, library or required device is not there, or a model is not the one expected."""

    exit_code = 69


class BusyError(SadstreamError):
    """The endpoint is taken: another program's port, or a second instance."""

    exit_code = 73


class StalledError(SadstreamError):
    """A part of the daemon stopped making progress; a supervisor should start it again."""

    exit_code = 75


class ConfigError(SadstreamError):
    """The configuration is not valid, so nothing was started."""

    exit_code = 78


# How PyTorch says it, and how cuBLAS, cuDNN and cuFFT do, which take memory past PyTorch, at their first call on a full
# card.
FULL = ("out of memory", "alloc_failed", "cublas_status_not_initialized", "cudnn_status_not_initialized")


def out_of_memory(error: BaseException) -> bool:
    """Python's, PyTorch's (a RuntimeError of its own name) or a library's (a RuntimeError that says so)."""
    said = str(error).lower() if isinstance(error, RuntimeError) else ""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(sign in said for sign in FULL)
    )
