"""Inference from a checkpoint: files, streams, and export to other runtimes.

Knows training's checkpoints.
"""
