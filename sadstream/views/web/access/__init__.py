"""Who may ask a server of ours, and what a browser may do with the answer. Nothing is exported here."""
