"""Training as LightningModules: loss, metrics, optimizer, checkpoints.

Knows the models and the datamodules.
"""
