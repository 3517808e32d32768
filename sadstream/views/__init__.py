"""How people look at events and recordings: terminal, browser, report, plots, Home Assistant.

How the daemon makes an event is never known here. Nothing is exported here.
"""
