"""The commented experiments that ship with the package."""
