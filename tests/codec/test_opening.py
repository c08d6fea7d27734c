"""What is not a video is refused at once, and nothing that it names is opened."""

from __future__ import annotations

import io
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.encoders import encode

from cvr_lightning.codec import CompressedVideoReader, VideoBytes
from cvr_lightning.codec.container.packets import open_packets
from cvr_lightning.codec.errors import UnreadableVideoError
from cvr_lightning.codec.ffmpeg.rgb import read_rgb
from cvr_lightning.tools.prepare.source import Source

SCRIPTS = {
    "ffconcat": "ffconcat version 1.0\nfile '{other}'\nduration 1\n",
    "concat without a header": "file '{other}'\nfile '{other}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="0" bandwidth="1"><BaseURL>{other}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "rtsp": "rtsp://127.0.0.1:9/x\n",
    "playlist": "[playlist]\nFile1={other}\n",
    "asx": "<asx version='3.0'><entry><ref href='{other}'/></entry></asx>",
    "avisynth": 'AviSource("{other}")\n',
    "imf": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"/>',
}


@pytest.fixture(params=SCRIPTS)
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A script under the name of a video, which names a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "video.mp4"
    path.write_text(SCRIPTS[request.param].format(other=tmp_path / "pipe"))
    return path


def watch(path: str) -> object:
    with open_packets(path) as stream:
        return stream


def in_memory(path: str) -> object:
    return CompressedVideoReader(VideoBytes(path, Path(path).read_bytes()))


READERS: list[Callable[[str], object]] = [
    CompressedVideoReader,
    Source,
    watch,
    lambda path: read_rgb(path, 1),
]


@pytest.mark.parametrize("read", [*READERS, in_memory])
def test_a_script_that_names_other_files_is_refused(script: Path, read: Callable[[str], object]) -> None:
    with pytest.raises(UnreadableVideoError, match=r"video\.mp4"):
        read(str(script))


@pytest.mark.skipif(sys.platform != "linux", reason="files of a process have names on Linux")
def test_a_script_opens_no_other_file(tmp_path: Path) -> None:
    other, path = encode(tmp_path / "other.avi", frames=6), tmp_path / "video.mp4"
    path.write_text(SCRIPTS["ffconcat"].format(other=other))
    os.utime(other, (1, 1))
    with pytest.raises(UnreadableVideoError, match="playlists and scripts that name other files"):
        CompressedVideoReader(path)
    assert os.stat(other).st_atime == 1


@pytest.mark.parametrize("read", [reader for reader in READERS if reader is not watch])
def test_a_pipe_or_a_device_is_refused_at_once(tmp_path: Path, read: Callable[[str], object]) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "pipe.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind(str(tmp_path / "socket.mp4"))
        for name in ("pipe.mp4", "link.mp4", "zero.mp4", "socket.mp4", "."):
            with pytest.raises(UnreadableVideoError, match="not a regular file"):
                read(str(tmp_path / name))


@pytest.mark.parametrize(
    "address",
    [
        "concat:{other}|{other}",
        "subfile:,start,0,end,0,,:{other}",
        "data:video/avi;base64,AAAA",
        "file:{other}",
        "http://127.0.0.1:9/x.avi",
        "pipe:0",
        "{other}\0",
    ],
)
@pytest.mark.parametrize("read", READERS)
def test_an_address_is_not_a_file(address: str, read: Callable[[str], object], tmp_path: Path) -> None:
    other = encode(tmp_path / "other.avi", frames=6)
    with pytest.raises(UnreadableVideoError, match=r"no such file|not a valid path"):
        read(address.format(other=other))


def test_a_file_that_is_named_like_an_address_or_a_pattern_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("concat:x.avi", "clip%03d.avi"):
        encode(Path("x.avi"), frames=6).rename(name)
        with CompressedVideoReader(name) as reader:
            assert reader.info.num_frames == 6


class Pipe(io.BytesIO):
    """An output that FFmpeg cannot seek in, so the file states no length."""

    seek = None  # type: ignore[assignment]


@pytest.mark.parametrize("container", ["avi", "matroska", "nut"])
def test_a_file_that_was_written_to_a_pipe_is_read(container: str, tmp_path: Path) -> None:
    source = encode(tmp_path / "a.mp4", frames=10)
    pipe = Pipe()
    with av.open(str(source)) as video, av.open(pipe, "w", format=container) as output:
        stream = output.add_stream_from_template(video.streams.video[0])
        for packet in video.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    (tmp_path / "written").write_bytes(pipe.getvalue())
    with CompressedVideoReader(tmp_path / "written") as reader, CompressedVideoReader(source) as expected:
        assert reader.info.frame_types == expected.info.frame_types
        np.testing.assert_array_equal(
            reader.read(reader.segments(1, 2)).motion, expected.read(expected.segments(1, 2)).motion
        )
