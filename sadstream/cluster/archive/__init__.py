"""Recordings scored by many at once: processes of this machine, or actors of a Ray cluster.

What crosses a border here is text: a path, a hash, lines of JSON. Audio stays where a recording is read.
"""
