"""Devices, files, pipes and senders elsewhere, one each.

Nothing is imported here, because the capture process starts through it.
"""
