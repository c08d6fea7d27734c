"""Modalities that the FFmpeg parser supports for a stream, and the reason for each limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cvr_lightning.codec.arrays import Modality
from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.errors import IFRAMES_ONLY, PREPARE, UnsupportedStreamError
from cvr_lightning.codec.h264.parameters import read_pair, read_sets
from cvr_lightning.codec.h264.parser import unread_tools
from cvr_lightning.codec.mpeg4 import headers as mpeg4_headers
from cvr_lightning.codec.scan import WITH_VECTORS

PIXEL_FORMATS = ("yuv420p", "yuvj420p")
"""8-bit 4:2:0: the formats for which motion compensation is implemented."""
_MOTION_ONLY = (
    "or ask for modalities=('iframes', 'motion'), in cvr --data.sampling.modalities '[iframes, motion]'"
)


@dataclass(frozen=True)
class Support:
    """Modalities available from one stream.

    Attributes:
        codec: FFmpeg's name of the codec.
        reason: What the FFmpeg parser reads from the stream, in words.
        no_motion: Why motion is unavailable; empty if it is available.
        no_residual: Why the residual is unavailable; empty if it is available.
        quarter_sample: MPEG-4 vectors are in quarter samples.
    """

    codec: str
    reason: str
    no_motion: str = ""
    no_residual: str = ""
    quarter_sample: bool = False

    @property
    def predicts_from_previous(self) -> bool:
        """Whether each P-frame is predicted only from the preceding I- or P-frame in display order."""
        return not (self.no_motion or self.no_residual)

    def require(self, file: str, modalities: Sequence[Modality]) -> None:
        """Check that the modalities are available.

        Raises:
            UnsupportedStreamError: A modality is unavailable; the message gives file, cause and fix.
        """
        if self.no_motion and ("motion" in modalities or "residual" in modalities):
            raise UnsupportedStreamError(file, self.no_motion, PREPARE, alternative=IFRAMES_ONLY)
        if self.no_residual and "residual" in modalities:
            raise UnsupportedStreamError(
                file, f"no residual: {self.no_residual}", PREPARE, alternative=_MOTION_ONLY
            )


def find_support(demuxer: Demuxer, index: PacketIndex) -> Support:
    """Determine the available modalities from a stream's headers and frame types."""
    codec = index.codec
    if codec == "mpeg4":
        return _mpeg4(demuxer, index)
    if codec == "h264":
        return _h264(index)
    if codec in WITH_VECTORS and index.facts.interlaced:
        cause = f"interlaced {codec}: its vectors may refer to fields"
        return Support(codec, f"I-frames only; {cause}", no_motion=cause)
    if codec in WITH_VECTORS:
        cause = f"motion compensation of {codec} is not reproduced here"
        return Support(codec, f"FFmpeg exports the vectors of {codec}, but {cause}", no_residual=cause)
    cause = f"codec {codec}: FFmpeg exports no motion vectors of it"
    return Support(codec, f"I-frames only; {cause}", no_motion=cause)


def _headers(demuxer: Demuxer, index: PacketIndex) -> tuple[bytes, bytes]:
    """The extradata and the first packet at which decoding can start."""
    first = int(index.starts.argmax())
    packets = [bytes(packet) for _, packet in demuxer.fetch(first, first, index.keys)]
    return demuxer.stream.codec_context.extradata or b"", b"".join(packets)


def _mpeg4(demuxer: Demuxer, index: PacketIndex) -> Support:
    extradata, packet = _headers(demuxer, index)
    vol = mpeg4_headers.find_vol(packet) or mpeg4_headers.find_vol(extradata)
    cause = ""
    if vol is None or not vol.rectangular:
        cause = "no header of a rectangular video object layer (short video header, or shaped objects)"
    elif vol.interlaced:
        cause = "interlaced MPEG-4 Part 2: its vectors may refer to fields"
    elif vol.sprite or "S" in index.frame_types:
        cause = "MPEG-4 Part 2 with sprites or global motion compensation"
    elif index.facts.pixel_format not in PIXEL_FORMATS:
        cause = f"pixel format {index.facts.pixel_format}"
    if cause or vol is None:
        return Support(index.codec, f"I-frames only; {cause}", no_motion=cause)
    reason = "MPEG-4 Part 2: decoded frame minus the exact motion-compensated prediction"
    return Support(index.codec, reason, quarter_sample=vol.quarter_sample)


def _h264(index: PacketIndex) -> Support:
    pairs = [read_pair(*pair) for header in index.sequence_headers for pair in read_sets(header).pairs]
    if not pairs:
        return Support(index.codec, "I-frames only", no_motion="its H.264 parameter sets cannot be read")
    if not all(sequence.progressive for sequence, _ in pairs):
        cause = "H.264 coded with field tools (frame_mbs_only_flag is 0): its vectors may refer to fields"
        return Support(index.codec, f"I-frames only; {cause}", no_motion=cause)
    if any(sequence.crop[0] or sequence.crop[2] for sequence, _ in pairs):
        cause = "H.264 cropped at its left or top: its blocks lie off the frame's 8x8 grid"
        return Support(index.codec, f"I-frames only; {cause}", no_motion=cause)
    cause = unread_tools(index) or "FFmpeg exports no residual of H.264"
    return Support(index.codec, f"vectors only, as FFmpeg exports them; {cause}", no_residual=cause)
