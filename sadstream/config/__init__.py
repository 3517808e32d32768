"""Every key of the configuration, its range and its default.

What a key is used for is never decided here. `Config`, and what reads one, are exported.
"""

from sadstream.config.loading import load, parse, with_changes
from sadstream.config.tables import Config

__all__ = ["Config", "load", "parse", "with_changes"]
