"""One run of the daemon: threads, sockets, signals, systemd.

How a score is made is never decided here. Nothing is exported here.
"""
