"""Packets of a container and their index: what each holds, when it is shown, where decoding may start."""
