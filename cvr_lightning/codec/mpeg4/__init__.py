"""MPEG-4 Part 2 (ISO/IEC 14496-2): headers, and a macroblock parser that reconstructs no pixels.

From low to high level: ``tables`` (codes), ``bitstream`` (bits, video packets), ``motion`` and ``texture``
(vectors, blocks), ``reference_vop`` and ``bidirectional_vop`` (the macroblocks of a VOP), ``macroblocks``
(one VOP as arrays), ``parser`` (the frames of a file). ``prediction`` implements motion compensation for the
FFmpeg parser.
"""
