"""The checkpoint: its header, its network, what it reads, its card. How audio comes in is never known here."""
