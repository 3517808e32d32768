"""Figures of a detector, their intervals and tests. No model and no sound is ever here."""
