"""The daemon among the machine's services: systemd, accounts, metrics, pauses. No score is ever made here."""
