"""The generic parser: FFmpeg decodes frames and exports vectors; the residual is computed from them.

FFmpeg exports no residual, so it is computed as the decoded frame minus the motion-compensated prediction.
For MPEG-4 Part 2 this is exact: a block without coded coefficients has a residual of exactly zero. For other
codecs only vectors are available; since the reference is unknown, no block is reported as skipped.

Old encoders (XviD before 1.0, DivX before 5) pad references at the display size instead of whole macroblocks:
blocks predicted from beyond such an edge are not exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from typing import NoReturn, TypeVar

import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from cvr_lightning.codec.arrays import BlockMode, Modality, blocks
from cvr_lightning.codec.capabilities import PIXEL_FORMATS, Support, find_support
from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.container.runs import damage_before, runs, starts_before
from cvr_lightning.codec.errors import PREPARE, UnreadableVideoError, UnsupportedStreamError
from cvr_lightning.codec.ffmpeg.decoder import Decoder, Skip, checksum
from cvr_lightning.codec.ffmpeg.vectors import VectorField, mark_skipped, vector_field
from cvr_lightning.codec.fields import dct
from cvr_lightning.codec.fields.geometry import gather
from cvr_lightning.codec.fields.scaling import RgbScaler
from cvr_lightning.codec.mpeg4 import prediction
from cvr_lightning.codec.mpeg4.prediction import Planes
from cvr_lightning.codec.parser import BlockFields, BlockGrid, PFrame

Picture = TypeVar("Picture")
_FILLER = -1
"""Number of a filler packet, which only makes a decoder output the previous frame."""


class FFmpegParser:
    """Frames of one video through FFmpeg.

    Args:
        demuxer: The file.
        index: The index of the file.
    """

    name = "ffmpeg"

    def __init__(self, demuxer: Demuxer, index: PacketIndex) -> None:
        self._demuxer = demuxer
        self._index = index
        self._support: Support = find_support(demuxer, index)
        self.reason = self._support.reason
        self._to_rgb = RgbScaler()

    def require(self, modalities: Sequence[Modality], accumulate: bool = False) -> None:
        """See :meth:`cvr_lightning.codec.parser.Parser.require`."""
        self._support.require(self._demuxer.path, modalities)

    def iframes(self, frames: Sequence[int], size: tuple[int, int]) -> Iterator[npt.NDArray[np.uint8]]:
        """See :meth:`cvr_lightning.codec.parser.Parser.iframes`; supports frames of any type."""
        return self.pictures(frames, lambda picture: self._to_rgb(picture, size))

    def pictures(self, frames: Sequence[int], convert: Callable[[VideoFrame], Picture]) -> Iterator[Picture]:
        """Decode frames of any type, as a player shows them.

        Args:
            frames: Frame numbers.
            convert: Converts a decoded frame to what is returned.

        Yields:
            The converted frames, in the requested order.

        Raises:
            UnreadableVideoError: A frame is damaged or missing.
        """
        for first, wanted in runs(self._index, frames):
            found = self._pictures(self._plain, first, wanted, convert)
            for frame in wanted:
                yield found[frame] if frame in found else self._from_earlier_start(frame, convert)

    @cached_property
    def _plain(self) -> Decoder:
        return Decoder(self._demuxer, self._index.frame_of_packet)

    def _from_earlier_start(self, frame: int, convert: Callable[[VideoFrame], Picture]) -> Picture:
        """Decode a frame from an earlier start, if the best start does not reproduce the full decode."""
        for first in starts_before(self._index, frame)[1:]:
            decoder = self._plain if first else Decoder(self._demuxer, self._index.frame_of_packet)
            found = self._pictures(decoder, first, [frame], convert)
            if frame in found:
                return found[frame]
        raise self._lost(frame)

    def _pictures(
        self, decoder: Decoder, first: int, wanted: Sequence[int], convert: Callable[[VideoFrame], Picture]
    ) -> dict[int, Picture]:
        """The wanted frames for which decoding from ``first`` reproduces the full decode, converted."""
        index = self._index
        self._check_damage(first, wanted)
        last = int(index.frame_ends[list(wanted)].max())
        missing = dict[int, list[int]]()
        for frame in wanted:
            missing.setdefault(int(index.frame_packets[frame]), []).append(frame)
        found = dict[int, Picture]()
        decoded_before = bool(index.frame_checksums[wanted[0]] >= 0)
        packets = self._demuxer.fetch(first, last, index.keys)
        with closing(decoder.decode(packets, strict=not decoded_before)) as decoded:
            for number, picture in decoded:
                same = [n for n in missing.get(number, ()) if self._is_same(picture, n)]
                if same:
                    found.update({n: convert(picture) for n in same})
                    missing[number] = [n for n in missing[number] if n not in same]
                if len(found) == len(wanted):
                    break
        return found

    def _is_same(self, picture: VideoFrame, frame: int) -> bool:
        expected = int(self._index.frame_checksums[frame])
        return expected < 0 or expected == checksum(picture)

    def _check_damage(self, first: int, wanted: Sequence[int]) -> None:
        for frame in wanted:
            packet = damage_before(self._index, first, frame)
            if packet is not None:
                cause = f"packet {packet} is damaged, or what it is predicted from is missing"
                raise self._demuxer.damage(cause, self._index.frame_of_packet.get(packet, frame))

    def pframes(
        self, frames: Sequence[int], coefficients: tuple[int, int] | None
    ) -> Iterator[tuple[int, PFrame]]:
        """See :meth:`cvr_lightning.codec.parser.Parser.pframes`."""
        # B-frames of MPEG-4 Part 2 are never references, so they are not decoded.
        skip: Skip = "NONREF" if self._support.predicts_from_previous else "NONE"
        frame_numbers = self._index.frame_of_packet
        decoder = Decoder(self._demuxer, frame_numbers, vectors=True, coded_size=True, skip=skip)
        for first, wanted in runs(self._index, frames):
            self._check_damage(first, wanted)
            packets = {int(self._index.frame_packets[frame]): frame for frame in wanted}
            yield from self._read_run(decoder, first, packets, coefficients)

    def fill(
        self,
        frames: Sequence[int],
        slots: Sequence[int],
        coefficients: tuple[int, int] | None,
        grid: BlockGrid,
        fields: BlockFields,
    ) -> None:
        """See :meth:`cvr_lightning.codec.parser.Parser.fill`."""
        slot_of = dict(zip(frames, slots, strict=True))
        for frame, parsed in self.pframes(frames, coefficients):
            slot = slot_of[frame]
            gather(parsed.motion, grid.rows, grid.columns, 4 * grid.scale, fields.motion[slot])
            if parsed.residual is not None:
                scale = np.ones(len(parsed.residual), np.float32)
                gather(parsed.residual, grid.rows, grid.columns, scale, fields.residual[slot])
            fields.modes[slot] = parsed.modes[grid.rows[:, None], grid.columns]

    def parse(self, frame: int) -> NoReturn:
        """See :meth:`cvr_lightning.codec.parser.Parser.parse`: FFmpeg exports no macroblocks."""
        raise UnsupportedStreamError(self._demuxer.path, f"no macroblocks: {self.reason}", PREPARE, frame)

    def _read_run(
        self, decoder: Decoder, first: int, wanted: dict[int, int], coefficients: tuple[int, int] | None
    ) -> Iterator[tuple[int, PFrame]]:
        missing = dict(wanted)
        reference: VideoFrame | None = None
        last = int(self._index.frame_ends[list(wanted.values())].max())
        decoded_before = bool((self._index.frame_checksums >= 0).any())
        run = decoder.decode(self._run_packets(first, last, missing), strict=not decoded_before)
        for number, decoded in run:
            if number in missing:
                frame = missing.pop(number)
                yield frame, self._pframe(decoded, reference, number, frame, coefficients)
            if self._support.predicts_from_previous and decoded.pict_type != PictureType.B:
                reference = decoded
        if missing:
            raise self._lost(next(iter(missing.values())))

    def _run_packets(
        self, first: int, last: int, missing: dict[int, int]
    ) -> Iterator[tuple[int, Packet[VideoStream]]]:
        """Packets of a run, followed by fillers so that MPEG decoders output the last frame with its vectors.

        FFmpeg's MPEG decoders export no vectors for flushed frames. The run's I-frame is therefore appended
        as a filler: once to push out the delayed frame, and once more for packed bitstreams, where decoding
        is one packet behind.
        """
        keys = self._index.keys
        yield from self._demuxer.fetch(first, last, keys)
        if self._support.codec == "h264":
            return
        for _ in range(2):
            if missing:
                yield from ((_FILLER, packet) for _, packet in self._demuxer.fetch(first, first, keys))
        if missing:
            raise self._lost(next(iter(missing.values())))

    def _lost(self, frame: int) -> UnreadableVideoError:
        return self._demuxer.error("no decoding from an earlier I-frame gives it as it is shown", frame)

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
        rows, columns = blocks(self._index.facts.height), blocks(self._index.facts.width)
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
        rounding = int(self._index.rounding[packet])
        split = field.split
        return prediction.predict(
            reference, field.vectors, field.inter, split, self._support.quarter_sample, rounding
        )

    def _modes(self, field: VectorField) -> npt.NDArray[np.uint8]:
        modes = np.where(field.inter, BlockMode.INTER, BlockMode.INTRA).astype(np.uint8)
        if self._support.codec != "h264":  # H.264 partitions are reported as INTER
            modes[field.split.repeat(2, 0).repeat(2, 1)] = BlockMode.INTER4V
        return modes

    def _check(self, decoded: VideoFrame, reference: VideoFrame | None, frame: int) -> None:
        """Reject frames that do not fit the grid; a stream may change format in the middle."""
        facts, cause = self._index.facts, ""
        surplus = (decoded.width - facts.width, decoded.height - facts.height)
        if decoded.interlaced_frame and facts.codec == "mpeg4":
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


def _planes(frame: VideoFrame) -> Planes:
    """Y, Cb, Cr of an 8-bit 4:2:0 frame, copied from the decoder's padded buffers."""
    y, cb, cr = (
        np.array(np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)[:, : plane.width])
        for plane in frame.planes
    )
    return y, cb, cr


def _differences(planes: Planes, prediction: Planes) -> dct.ResidualPlanes:
    y, cb, cr = (np.subtract(a, b, dtype=np.int16) for a, b in zip(planes, prediction, strict=True))
    return y, cb, cr
