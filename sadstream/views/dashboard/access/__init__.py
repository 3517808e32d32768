"""Who may look at the dashboard, and what a browser may do with the answer. Nothing is exported here."""
