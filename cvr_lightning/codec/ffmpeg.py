"""The general lane: FFmpeg decodes, exports its vectors, and the residual is what prediction leaves.

FFmpeg exports no residual, so it is the decoded frame minus the codec's own motion-compensated prediction.
For MPEG-4 Part 2 this is exact: a block without coded coefficients has a residual of exactly zero. For H.264
with one reference it is approximate, for deblocking comes after the residual, and FFmpeg exports only the
first vector of an 8x8 block that is divided further.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from cvr_lightning.codec import dct, h264_prediction, mpeg4_prediction
from cvr_lightning.codec.arrays import BlockMode, Modality, blocks
from cvr_lightning.codec.decoder import Decoder, Skip
from cvr_lightning.codec.demux import Demuxer
from cvr_lightning.codec.errors import PREPARE, UnsupportedStreamError
from cvr_lightning.codec.index import PacketIndex
from cvr_lightning.codec.mpeg4_prediction import Planes
from cvr_lightning.codec.parser import PFrame
from cvr_lightning.codec.support import Support, find_support
from cvr_lightning.codec.vectors import VectorField, mark_skipped, vector_field


class FFmpegParser:
    """Frames of one video through FFmpeg.

    Args:
        demuxer: The file.
        index: Its index.
    """

    name = "ffmpeg"

    def __init__(self, demuxer: Demuxer, index: PacketIndex) -> None:
        self._demuxer = demuxer
        self._index = index
        self._support: Support = find_support(demuxer, index)
        self.reason = self._support.reason

    def require(self, modalities: Sequence[Modality]) -> None:
        """See :meth:`cvr_lightning.codec.parser.Parser.require`."""
        self._support.require(self._demuxer.path, modalities)

    def iframes(self, frames: Sequence[int], size: tuple[int, int]) -> Iterator[npt.NDArray[np.uint8]]:
        """See :meth:`cvr_lightning.codec.parser.Parser.iframes`."""
        decoder = Decoder(self._demuxer)
        for frame in frames:
            decoded = self.decode_iframe(frame, decoder)
            rgb = decoded.reformat(width=size[1], height=size[0], format="rgb24").to_ndarray()
            yield rgb.astype(np.uint8, copy=False)

    def decode_iframe(self, frame: int, decoder: Decoder | None = None) -> VideoFrame:
        """Decode one I-frame."""
        decoder = decoder or Decoder(self._demuxer)
        packet = int(self._index.frame_packets[frame])
        for number, decoded in decoder.decode(self._packets(self._index.start_before(packet), packet)):
            if number == packet:
                return decoded
        raise self._demuxer.error("FFmpeg gave no picture for it", frame)

    def pframes(
        self, frames: Sequence[int], coefficients: tuple[int, int] | None
    ) -> Iterator[tuple[int, PFrame]]:
        """See :meth:`cvr_lightning.codec.parser.Parser.pframes`."""
        # B-frames in which nothing is predicted need no decoding; H.264 may also drop P-frames that way.
        skip: Skip = "NONREF" if self._support.predicts_from_previous else "NONE"
        decoder = Decoder(self._demuxer, vectors=True, coded_size=True, skip=skip)
        for first, wanted in self._runs(frames):
            yield from self._read_run(decoder, first, wanted, coefficients)

    def _runs(self, frames: Sequence[int]) -> Iterator[tuple[int, dict[int, int]]]:
        """Packets to begin decoding at, and the frames wanted of each run by packet number."""
        first, wanted = -1, dict[int, int]()
        for frame in frames:
            packet = int(self._index.frame_packets[frame])
            start = self._index.start_before(packet)
            if start != first and wanted:
                yield first, wanted
                wanted = {}
            first = start
            wanted[packet] = frame
        if wanted:
            yield first, wanted

    def _read_run(
        self, decoder: Decoder, first: int, wanted: dict[int, int], coefficients: tuple[int, int] | None
    ) -> Iterator[tuple[int, PFrame]]:
        missing = dict(wanted)
        reference: Planes | None = None
        for number, decoded in decoder.decode(self._packets(first, max(wanted))):
            if number in missing:
                frame = missing.pop(number)
                yield frame, self._pframe(decoded, reference, number, frame, coefficients)
            if self._support.predicts_from_previous and decoded.pict_type != PictureType.B:
                reference = _planes(decoded)
        if missing:
            raise self._demuxer.error("FFmpeg gave no picture for it", next(iter(missing.values())))

    def _pframe(
        self,
        decoded: VideoFrame,
        reference: Planes | None,
        packet: int,
        frame: int,
        coefficients: tuple[int, int] | None,
    ) -> PFrame:
        self._check(decoded, frame)
        field = vector_field(decoded, (-(-decoded.height // 16), -(-decoded.width // 16)))
        rows, columns = blocks(self._demuxer.stream.height), blocks(self._demuxer.stream.width)
        motion = field.vectors.transpose(2, 0, 1).astype(np.float32) / np.float32(field.scale)
        modes = self._modes(field)
        residual = None
        if self._support.predicts_from_previous:
            if reference is None:
                raise self._demuxer.error("its reference is missing", frame)
            planes = _planes(decoded)
            mark_skipped(planes, reference, field, modes)
            if coefficients is not None:
                prediction = self._predict(reference, field, packet)
                residual = dct.forward(_differences(planes, prediction), coefficients, (rows, columns))
        return PFrame(motion[:, :rows, :columns], residual, modes[:rows, :columns])

    def _predict(self, reference: Planes, field: VectorField, packet: int) -> Planes:
        if self._support.codec == "h264":
            return h264_prediction.predict(reference, field.vectors, field.inter)
        rounding = int(self._index.rounding[packet])
        split = field.split
        return mpeg4_prediction.predict(
            reference, field.vectors, field.inter, split, self._support.quarter_sample, rounding
        )

    def _modes(self, field: VectorField) -> npt.NDArray[np.uint8]:
        modes = np.where(field.inter, BlockMode.INTER, BlockMode.INTRA).astype(np.uint8)
        if self._support.codec != "h264":  # an H.264 partition is plain inter
            modes[field.split.repeat(2, 0).repeat(2, 1)] = BlockMode.INTER4V
        return modes

    def _check(self, decoded: VideoFrame, frame: int) -> None:
        """Refuse what the vector grid cannot hold; a stream may change its mind in the middle."""
        stream = self._demuxer.stream
        if decoded.interlaced_frame:
            raise UnsupportedStreamError(
                self._demuxer.path, "the frame is interlaced: its vectors may refer to fields", PREPARE, frame
            )
        if not (0 <= decoded.width - stream.width < 16 and 0 <= decoded.height - stream.height < 16):
            size = f"{decoded.width}x{decoded.height}"
            raise UnsupportedStreamError(
                self._demuxer.path, f"the frame size changes to {size} in mid-stream", PREPARE, frame
            )

    def _packets(self, first: int, last: int) -> Iterable[tuple[int, Packet[VideoStream]]]:
        return self._demuxer.fetch(first, last, self._index.keys)


def _planes(frame: VideoFrame) -> Planes:
    """Y, Cb, Cr of a 4:2:0 frame of 8 bits, copied out of the decoder's padded buffers."""
    y, cb, cr = (
        np.array(np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)[:, : plane.width])
        for plane in frame.planes
    )
    return y, cb, cr


def _differences(planes: Planes, prediction: Planes) -> dct.ResidualPlanes:
    y, cb, cr = (np.subtract(a, b, dtype=np.int16) for a, b in zip(planes, prediction, strict=True))
    return y, cb, cr
