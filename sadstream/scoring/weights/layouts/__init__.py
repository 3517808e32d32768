"""How others keep a Whisper: each layout read into our names; nothing is fetched or written here."""
