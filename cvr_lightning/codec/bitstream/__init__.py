"""What the bitstream parsers share: bit readers, fault codes, lazily compiled kernels.

Knows no codec.
"""
