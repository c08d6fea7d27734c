"""Labels for any number of files: sources, reading processes, journal, table."""
