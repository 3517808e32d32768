"""What scores of one stream come to over time: offset, rejection band, mood, episodes. Words are never known here."""
