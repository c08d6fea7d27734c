"""Files: atomic output, locks, printable names, video suffixes, limits, worker processes.

Knows only the errors.
"""
