"""Bit readers, fault codes and compiled kernels shared by the bitstream parsers.

Independent of any codec.
"""
