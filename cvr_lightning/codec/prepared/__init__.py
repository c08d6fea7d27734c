"""The form that ``cvr prepare`` writes: on disk, or in memory for the windows that are read."""
