"""The journal as columns: a week by the hour, a stretch in as many points as a screen has. Pure but for reading."""
