"""Decoding and exported motion vectors through FFmpeg, for codecs without a parser of their own."""
