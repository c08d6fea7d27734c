"""H.264 (ITU-T H.264, ISO/IEC 14496-10): headers, and a parser of macroblocks that reconstructs no pixel."""
