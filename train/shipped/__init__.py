"""The checkpoint that ships, from open corpora, and its scorecard. The thesis is never told here."""
