"""The general lane: FFmpeg decodes, exports its vectors, and the residual is what prediction leaves.

FFmpeg exports no residual, so it is the decoded frame minus the codec's own motion-compensated prediction.
For MPEG-4 Part 2 this is exact: a block without coded coefficients has a residual of exactly zero. For H.264
with one reference it is approximate, for deblocking comes after the residual, and FFmpeg exports only the
first vector of an 8x8 block that is divided further. Of other streams there are at most vectors; as their
reference is not known, none of their blocks is ever said to be skipped.

Old encoders (XviD before 1.0, DivX before 5) pad references at the display size, not at whole macroblocks:
blocks predicted from beyond such an edge are not exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from cvr_lightning.codec import h264_prediction
from cvr_lightning.codec.arrays import BlockMode, Modality, blocks
from cvr_lightning.codec.capabilities import PIXEL_FORMATS, Support, find_support
from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.errors import PREPARE, UnreadableVideoError, UnsupportedStreamError
from cvr_lightning.codec.ffmpeg.decoder import Decoder, Skip
from cvr_lightning.codec.ffmpeg.vectors import VectorField, mark_skipped, vector_field
from cvr_lightning.codec.fields import dct
from cvr_lightning.codec.fields.scaling import RgbScaler
from cvr_lightning.codec.mpeg4 import prediction
from cvr_lightning.codec.mpeg4.prediction import Planes
from cvr_lightning.codec.parser import PFrame

_OPEN_GOPS = frozenset({"h264", "hevc"})
"""Codecs whose decoders take a picture for damaged that refers to one before the run; MPEG's pass it over."""
_FILLER = -1
"""Number of a packet that only keeps a decoder going."""


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
        """See :meth:`cvr_lightning.codec.parser.Parser.iframes`; gives frames of any type."""
        decoder = Decoder(self._demuxer, self._index.frame_of_packet)
        to_rgb = RgbScaler()
        for first, wanted in self._runs(frames):
            missing = dict(wanted)
            with closing(decoder.decode(self._packets(first, max(wanted)))) as decoded:
                for number, picture in decoded:
                    if missing.pop(number, None) is not None:
                        yield to_rgb(picture, size)
                    if not missing:
                        break
            if missing:
                raise self._lost(missing)

    def pframes(
        self, frames: Sequence[int], coefficients: tuple[int, int] | None
    ) -> Iterator[tuple[int, PFrame]]:
        """See :meth:`cvr_lightning.codec.parser.Parser.pframes`."""
        # Nothing refers to a B-frame of MPEG-4 Part 2, so it need not be decoded.
        skip: Skip = "NONREF" if self._support.predicts_from_previous else "NONE"
        frame_numbers = self._index.frame_of_packet
        decoder = Decoder(self._demuxer, frame_numbers, vectors=True, coded_size=True, skip=skip)
        for first, wanted in self._runs(frames):
            yield from self._read_run(decoder, first, wanted, coefficients)

    def _runs(self, frames: Sequence[int]) -> Iterator[tuple[int, dict[int, int]]]:
        """Packets to begin decoding at, and the frames wanted of each run by packet number."""
        first, wanted = -1, dict[int, int]()
        for frame in frames:
            packet = int(self._index.frame_packets[frame])
            start = self._start(frame, packet)
            if start != first and wanted:
                yield first, wanted
                wanted = {}
            first = start
            wanted[packet] = frame
        if wanted:
            yield first, wanted

    def _start(self, frame: int, packet: int) -> int:
        """Where to begin decoding: a frame shown before the I-frame that it follows needs the GOP before."""
        start = self._index.start_before(packet)
        leading = start > 0 and self._index.frame_of_packet.get(start, frame) > frame
        return self._index.start_before(start - 1) if leading else start

    def _read_run(
        self, decoder: Decoder, first: int, wanted: dict[int, int], coefficients: tuple[int, int] | None
    ) -> Iterator[tuple[int, PFrame]]:
        missing = dict(wanted)
        reference: VideoFrame | None = None
        for number, decoded in decoder.decode(self._run_packets(first, max(wanted), missing)):
            if number in missing:
                frame = missing.pop(number)
                yield frame, self._pframe(decoded, reference, number, frame, coefficients)
            if self._support.predicts_from_previous and decoded.pict_type != PictureType.B:
                reference = decoded
        if missing:
            raise self._lost(missing)

    def _run_packets(
        self, first: int, last: int, missing: dict[int, int]
    ) -> Iterator[tuple[int, Packet[VideoStream]]]:
        """Packets of a run, and what makes an MPEG decoder give the frame that it holds with its vectors.

        FFmpeg's MPEG decoders export no vectors of a frame that is flushed out of them. So the run's I-frame
        follows as a filler: once to take the place of a held frame, once more for a packed bitstream, in
        which decoding lags a packet behind.
        """
        yield from self._packets(first, last)
        if self._support.codec == "h264":
            return
        for _ in range(2):
            if missing:
                yield from ((_FILLER, packet) for _, packet in self._packets(first, first))
        if missing:
            raise self._lost(missing)

    def _lost(self, missing: dict[int, int]) -> UnreadableVideoError:
        return self._demuxer.error("FFmpeg gave no picture for it", next(iter(missing.values())))

    def _pframe(
        self,
        decoded: VideoFrame,
        reference: VideoFrame | None,
        packet: int,
        frame: int,
        coefficients: tuple[int, int] | None,
    ) -> PFrame:
        self._check(decoded, reference, frame)
        field = vector_field(decoded, (-(-decoded.height // 16), -(-decoded.width // 16)))
        rows, columns = blocks(self._demuxer.stream.height), blocks(self._demuxer.stream.width)
        motion = field.vectors.transpose(2, 0, 1).astype(np.float32) / np.float32(field.scale)
        modes = self._modes(field)
        residual = None
        if self._support.predicts_from_previous:
            if reference is None:
                raise self._demuxer.error("its reference is missing", frame)
            planes, past = _planes(decoded), _planes(reference)
            mark_skipped(planes, past, field, modes)
            if coefficients is not None:
                prediction = self._predict(past, field, packet)
                residual = dct.forward(_differences(planes, prediction), coefficients, (rows, columns))
        return PFrame(motion[:, :rows, :columns], residual, modes[:rows, :columns])

    def _predict(self, reference: Planes, field: VectorField, packet: int) -> Planes:
        if self._support.codec == "h264":
            return h264_prediction.predict(reference, field.vectors, field.inter)
        rounding = int(self._index.rounding[packet])
        split = field.split
        return prediction.predict(
            reference, field.vectors, field.inter, split, self._support.quarter_sample, rounding
        )

    def _modes(self, field: VectorField) -> npt.NDArray[np.uint8]:
        modes = np.where(field.inter, BlockMode.INTER, BlockMode.INTRA).astype(np.uint8)
        if self._support.codec != "h264":  # an H.264 partition is plain inter
            modes[field.split.repeat(2, 0).repeat(2, 1)] = BlockMode.INTER4V
        return modes

    def _check(self, decoded: VideoFrame, reference: VideoFrame | None, frame: int) -> None:
        """Refuse what the grid cannot hold; a stream may change its mind in the middle."""
        stream, cause = self._demuxer.stream, ""
        surplus = (decoded.width - stream.width, decoded.height - stream.height)
        if decoded.interlaced_frame:
            cause = "the frame is interlaced: its vectors may refer to fields"
        elif min(surplus) < 0 or max(surplus) >= 16:
            cause = f"the frame size changes to {decoded.width}x{decoded.height} in mid-stream"
        elif self._support.predicts_from_previous:
            layouts = {(f.width, f.height, f.format.name) for f in (decoded, reference or decoded)}
            whole = decoded.width % 16 == 0 and decoded.height % 16 == 0
            if len(layouts) > 1 or not whole or decoded.format.name not in PIXEL_FORMATS:
                cause = f"frame and reference are not whole macroblocks of one size and format: {layouts}"
        if cause:
            raise UnsupportedStreamError(self._demuxer.path, cause, PREPARE, frame)

    def _packets(self, first: int, last: int) -> Iterable[tuple[int, Packet[VideoStream]]]:
        """Packets of a run; in an open GOP, without the pictures that need what came before the run."""
        packets = self._demuxer.fetch(first, last, self._index.keys)
        if self._support.codec not in _OPEN_GOPS:
            return packets
        shown = self._index.frame_of_packet
        start = shown.get(first, 0)
        return ((number, packet) for number, packet in packets if shown.get(number, start) >= start)


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
