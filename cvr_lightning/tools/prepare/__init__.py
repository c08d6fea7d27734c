"""Prepare videos of any codec: re-encode to MPEG-4 Part 2 with short GOPs and no B-frames."""
