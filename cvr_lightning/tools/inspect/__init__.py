"""What one video file holds: ``cvr inspect``."""
