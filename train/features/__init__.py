"""What a model reads of utterances, computed once. Labels are never read here to compute a feature."""
