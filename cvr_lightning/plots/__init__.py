"""Plots of clips and spikes."""
