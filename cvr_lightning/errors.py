"""Errors of the user's making that are not about a video or a data set."""


class RunError(Exception):
    """A run cannot start as asked; the message says why and what to do."""


class CheckpointError(Exception):
    """A file is not a checkpoint that can be used; the message says why and what to do."""
