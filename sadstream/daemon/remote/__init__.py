"""A room that asks scorers elsewhere: what the two say to each other, when they count as away. No thread lives here."""
