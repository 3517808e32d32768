"""What everything may use: errors with their exit codes, the sample format, whole files, log lines.

Nothing here knows of audio devices, models, sockets of the wire or of the rest of sadstream. Nothing is exported here.
"""
