"""Files as every folder writes and names them: atomic outputs, locks, printable names, video suffixes.

Knows only the errors.
"""
