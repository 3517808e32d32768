"""`sadstream score DIR... --out DIR`: what is typed and what is said of it; who scores is in sadstream.cluster."""
