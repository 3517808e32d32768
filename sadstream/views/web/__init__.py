"""What a daemon says over HTTP: the contract for other programs, who may ask, and the server that the dashboard shares.

It knows the wire as any subscriber does; the dashboard's pages stand on it, never the reverse. It exports nothing.
"""
