"""Selection of the parser for a stream."""

from __future__ import annotations

import logging
from typing import Literal

from cvr_lightning.codec.container.demux import Demuxer
from cvr_lightning.codec.container.index import PacketIndex
from cvr_lightning.codec.ffmpeg.parser import FFmpegParser
from cvr_lightning.codec.h264.parser import H264Parser
from cvr_lightning.codec.mpeg4.parser import Mpeg4Parser
from cvr_lightning.codec.parser import Parser

ParserName = Literal["auto", "mpeg4", "h264", "ffmpeg"]
_logger = logging.getLogger(__name__)


def choose_parser(demuxer: Demuxer, index: PacketIndex, name: ParserName) -> Parser:
    """Create the named parser; ``"auto"`` selects the codec's own if it supports the stream, else FFmpeg's.

    Raises:
        UnsupportedStreamError: The requested parser does not support the stream.
    """
    for parser in (Mpeg4Parser, H264Parser):
        if name == parser.name or (name == "auto" and index.codec == parser.name):
            cause = "" if name == parser.name else parser.unread_tools(index)
            if not cause:
                return parser(demuxer, index)
            return _through_ffmpeg(demuxer, index, f"not by the {parser.standard} parser: {cause}")
    return FFmpegParser(demuxer, index)


def _through_ffmpeg(demuxer: Demuxer, index: PacketIndex, why: str) -> FFmpegParser:
    _logger.info("%s: read through FFmpeg: %s", demuxer.path, why)
    parser = FFmpegParser(demuxer, index)
    parser.reason = f"{parser.reason} ({why})"
    return parser
