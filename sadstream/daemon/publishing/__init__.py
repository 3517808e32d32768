"""The sockets of the wire: sequence numbers, joins, memory, who may connect. What a score means is never known here."""
