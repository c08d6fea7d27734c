"""Block fields: geometry, DCT, accumulation, scaling and delivery at the requested size."""
