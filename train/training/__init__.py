"""One run: loop, folder, protocols, export. Which runs there are is never decided here."""
