"""The errors that a user can mend; the command line prints them without a traceback."""


class UserError(Exception):
    """Base of all errors whose message says what is wrong and what to do about it."""


class RunError(UserError):
    """A run cannot start as asked."""


class CheckpointError(UserError):
    """A file is not a checkpoint that can be used."""


class CropError(UserError, ValueError):
    """Frames are of a size that the model does not take."""


class PrepareError(UserError):
    """Videos cannot be prepared as asked."""


class ShardError(UserError):
    """Shards cannot be written or read."""


class TrainingError(UserError):
    """A run that has started cannot go on."""


class WeightsError(UserError):
    """Published weights cannot be loaded; the message says which do not fit."""


class OutputError(UserError, OSError):
    """A file cannot be written: the disk is full, read-only or gone, or the folder is somebody else's."""

    def __str__(self) -> str:
        return str(self.strerror)


class InUseError(UserError):
    """Another process is writing to the same folder."""
