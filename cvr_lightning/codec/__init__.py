"""Video bytes to compressed-domain arrays."""

from cvr_lightning.codec import errors
from cvr_lightning.codec.arrays import MODALITIES, BlockMode, ClipArrays, Segment
from cvr_lightning.codec.demux import VideoBytes
from cvr_lightning.codec.index import PacketIndex
from cvr_lightning.codec.info import StreamInfo
from cvr_lightning.codec.reader import CompressedVideoReader
from cvr_lightning.codec.windows import segments

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
    "segments",
]
