"""Many rooms and several machines: the door that takes rooms' segments, who scores them, archives, one ear for all.

What a room hears stays in the room's daemon but for the segments that it sends to a door; nothing is kept here.
"""
