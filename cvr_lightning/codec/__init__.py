"""Video bytes to compressed-domain arrays."""
