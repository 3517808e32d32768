"""What worse sound, hum, offsets and other channels leave of the scores."""
