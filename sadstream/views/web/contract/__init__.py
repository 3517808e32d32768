"""What the contract says of itself, and the past as it gives it. It knows no server. Nothing is exported here."""
