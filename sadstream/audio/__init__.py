"""Where audio comes from, and the segments that are cut from it.

What is said in it is never known here. Nothing is imported here, because the capture process starts through it.
"""
