"""Video bytes to compressed-domain arrays."""

from cvr_lightning.codec import errors
from cvr_lightning.codec.arrays import MODALITIES, BlockMode, ClipArrays, Segment
from cvr_lightning.codec.container.demux import VideoBytes
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.container.info import StreamInfo
from cvr_lightning.codec.reader import CompressedVideoReader
from cvr_lightning.codec.windows import spread_segments

__all__ = [
    "MODALITIES",
    "BlockMode",
    "ClipArrays",
    "CompressedVideoReader",
    "PacketIndex",
    "Segment",
    "StreamInfo",
    "VideoBytes",
    "errors",
    "spread_segments",
]
