"""I-frames decoded from their own packets."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from cvr_lightning.codec import CompressedVideoReader, Segment


@pytest.mark.parametrize("name", ["MR1_BT_A.h264", "MIDR_MW_D.264", "NRF_MW_E.264"])
def test_iframes_are_those_of_a_full_decode(h264_streams: Callable[[str], Path], name: str) -> None:
    """Also where their marking operations name pictures that come before them."""
    path = h264_streams("conformance") / name
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with CompressedVideoReader(path, parser="h264") as video:
        numbers = [n for n, kind in enumerate(video.info.frame_types) if kind == "I"]
        clip = video.read([Segment(n, ()) for n in numbers])
    for n, place in zip(numbers, clip.iframe_index, strict=True):
        np.testing.assert_array_equal(clip.iframes[place].transpose(1, 2, 0), frames[n])
