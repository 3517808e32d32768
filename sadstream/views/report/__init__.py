"""`sadstream score --report`: a recording as one page that needs nothing else."""
