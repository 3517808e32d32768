"""For the tests of apps: made-up events, a scripted stream, a fake daemon; pyzmq alone is needed.

Nothing of the program imports it but `sadstream fake`. What `__all__` lists is public; the pytest fixture is in
`sadstream.testing.fixtures`.
"""

from sadstream.testing.fake_daemon import FakeDaemon, fake_daemon
from sadstream.testing.made_up import episode, gap, restart, score, scores, stale, status
from sadstream.testing.scripted import scripted

__all__ = [
    "FakeDaemon",
    "episode",
    "fake_daemon",
    "gap",
    "restart",
    "score",
    "scores",
    "scripted",
    "stale",
    "status",
]
