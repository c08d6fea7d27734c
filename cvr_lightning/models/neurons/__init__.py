"""Adaptive-threshold leaky integrate-and-fire neurons: the equations, and a compiled kernel for the CPU."""

from cvr_lightning.models.neurons.equations import AdaptiveLIF, Firing, LIFState, SurrogateSpike

__all__ = ["AdaptiveLIF", "Firing", "LIFState", "SurrogateSpike"]
