"""The checkpoint that ships, from open corpora, its scorecard, how one is given away. The thesis is never told here."""
