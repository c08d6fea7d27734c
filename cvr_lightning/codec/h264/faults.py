"""What can be wrong with a slice."""

from __future__ import annotations

from typing import Final

BAD_HEADER: Final = 1
CUT_SHORT: Final = 2
NO_PARAMETERS: Final = 3
UNREAD_SLICE: Final = 4
BAD_TYPE: Final = 5
BAD_REFERENCE: Final = 6
BAD_INTRA_MODE: Final = 7
BAD_PATTERN: Final = 8
BAD_QUANTIZER: Final = 9
BAD_COEFFICIENT: Final = 10
BAD_END: Final = 11
BAD_RUN: Final = 12
NOT_COVERED: Final = 13
COVERED_TWICE: Final = 14
BAD_UNIT: Final = 15
MISSING_REFERENCE: Final = 16
BAD_VECTOR: Final = 17
FAULTS: Final = {
    BAD_HEADER: "the slice header holds a forbidden value",
    CUT_SHORT: "the slice is cut short",
    NO_PARAMETERS: "the slice refers to a parameter set that the stream does not hold",
    UNREAD_SLICE: "the slice uses tools that are not read (SP, SI, those of its parameter set)",
    BAD_TYPE: "no macroblock type has this code",
    BAD_REFERENCE: "the reference index is larger than the reference list",
    BAD_INTRA_MODE: "no intra prediction mode has this code",
    BAD_PATTERN: "no pattern of coded blocks has this code",
    BAD_QUANTIZER: "the change of the quantizer is out of range",
    BAD_COEFFICIENT: "the coefficients of a block have an impossible code",
    BAD_END: "the slice should end here",
    BAD_RUN: "a run of skipped macroblocks leaves the picture",
    NOT_COVERED: "no slice covers this macroblock: slices are lost",
    COVERED_TWICE: "two slices cover this macroblock",
    BAD_UNIT: "the length of a NAL unit leaves the packet",
    MISSING_REFERENCE: "it is predicted from a picture that is not in the stream",
    BAD_VECTOR: "no vector difference has this code",
}
