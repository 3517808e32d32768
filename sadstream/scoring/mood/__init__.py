"""What the scores of one stream come to over time: offset, doubt, mood, episodes. Words are never known here."""
