"""Inspection of one video file: ``cvr inspect``."""
