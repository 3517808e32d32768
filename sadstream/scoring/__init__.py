"""A segment in, its score out, and what scores come to over time.

No socket and no thread is ever here. Nothing is exported here, and torch stays unloaded until a model is.
"""
