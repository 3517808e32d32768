"""sadstream hears sadness: live speech in, calibrated sad scores out over ZeroMQ."""

__version__ = "0.1.0"
