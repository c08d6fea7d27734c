"""Adaptive-threshold leaky integrate-and-fire neurons: equations, and a compiled CPU kernel."""

from cvr_lightning.models.neurons.equations import AdaptiveLIF, Firing, LIFState, SurrogateSpike

__all__ = ["AdaptiveLIF", "Firing", "LIFState", "SurrogateSpike"]
