"""`sadstream watch`: what a daemon says, on a terminal, as it says it."""
