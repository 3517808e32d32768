"""sadstream hears sadness: live speech in, calibrated sad scores out over ZeroMQ."""

import os

__version__ = "0.1.0"

# Must be set before torch loads OpenMP. Waiting threads that spin cost a transcript 2.1 s instead of 0.7 s as soon as
# another program wants one of two cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
