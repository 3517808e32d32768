"""The models that a configuration asks for, and the analyser that asks them about segments.

No calibration is here and no mood: what parts and scores come to is `scoring.analysis` and `scoring.mood`.
"""
