"""Sound in, sound out: channels made one, offsets, rumble and hum taken away. Pure; nothing is exported here."""
