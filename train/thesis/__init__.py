"""All runs of the thesis, its printed numbers, tables and report. The shipped checkpoint is never made here."""
