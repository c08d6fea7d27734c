"""Packets of a container and their index: content, display time, and where decoding can start."""
