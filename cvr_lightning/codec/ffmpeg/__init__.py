"""Decoding and exported motion vectors through FFmpeg, for codecs without a dedicated parser."""
