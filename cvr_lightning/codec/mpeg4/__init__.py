"""MPEG-4 Part 2 (ISO/IEC 14496-2): headers, and a parser of macroblocks that reconstructs no pixel.

From the bits up: ``tables`` (codes), ``bitstream`` (bits, video packets), ``motion`` and ``texture``
(vectors, blocks), ``reference_vop`` and ``bidirectional_vop`` (all macroblocks of a VOP), ``macroblocks``
(one VOP as arrays), ``parser`` (the frames of a file). ``prediction`` is motion compensation, for the lane
through FFmpeg.
"""
