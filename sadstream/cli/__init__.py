"""What people type; the only place that prints and exits.

`sadstream.cli.main` is the command; nothing is exported here, and nothing else imports it.
"""
