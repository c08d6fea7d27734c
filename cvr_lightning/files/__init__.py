"""Files as every folder writes and names them: atomic outputs, locks, printable names, video suffixes.

Limits on what a file may cost, and worker processes that files may crash. Knows only the errors.
"""
