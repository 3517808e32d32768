"""The checkpoint that ships, from open corpora, its scorecard, and how one is given away. The thesis is never told here."""
