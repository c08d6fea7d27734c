"""Scores of whole videos, the files that hold them, and comparing runs.

Importable without torch where it only reads.
"""
