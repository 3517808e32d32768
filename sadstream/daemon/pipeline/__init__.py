"""Threads and queues, all of them: what waits and what is dropped. No socket is ever here."""
