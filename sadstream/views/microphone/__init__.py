"""A page that is a microphone: who may send sound for a stream, and what its sender is told.

A process of its own beside the daemon, which it knows by its sockets alone. No sound is kept, none is looked into.
"""
