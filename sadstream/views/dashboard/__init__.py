"""The daemon's events as a web page: a subscriber like any other, with a small web server on its other side."""
