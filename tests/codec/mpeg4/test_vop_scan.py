import av
import numpy as np
import pytest
from helpers.encoders import encode

from cvr_lightning.codec.container.pictures import Pictures
from cvr_lightning.codec.mpeg4.headers import GROUP_START, find_vol
from cvr_lightning.codec.mpeg4.vop_header import VOP_START
from cvr_lightning.codec.mpeg4.vop_scan import VopScanner

DIVX_PACKED = b"\x00\x00\x01\xb2DivX503b1393p\x00"


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[bytes]]:
    """Sequence header and packets of a stream with one B-VOP between references."""
    path = encode(tmp_path_factory.mktemp("vops") / "clip.avi", (64, 48), codec="mpeg4", options={"bf": "1"})
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        packets = [bytes(packet) for packet in container.demux(video) if packet.size]
        return video.codec_context.extradata or b"", packets


def scan(extradata: bytes, packets: list[bytes], together: int = 1000) -> Pictures:
    scanner = VopScanner(extradata)
    for first in range(0, len(packets), together):
        batch = packets[first : first + together]
        sizes = np.array([len(packet) for packet in batch])
        begins = np.cumsum(sizes) - sizes
        scanner.scan(np.frombuffer(b"".join(batch), np.uint8), begins, begins + sizes)
    return scanner.finish()


def given(pictures: Pictures, packets: list[bytes]) -> list[tuple[bytes, int]]:
    """Bytes and time of each VOP in the order that they are decoded in."""
    columns = zip(
        pictures.gives, pictures.sources, pictures.offsets, pictures.sizes, pictures.times, strict=True
    )
    return [(packets[i][at : at + size], int(time)) for kind, i, at, size, time in columns if kind]


def not_coded(extradata: bytes) -> bytes:
    """A P-VOP without a picture: type, time base, marker, time increment, marker, not coded; stuffing."""
    vol = find_vol(extradata)
    assert vol is not None
    bits = "01" + "0" + "1" + "0" * vol.time_bits + "1" + "0"
    bits += "0" + "1" * (-(len(bits) + 1) % 8)
    return b"\x00\x00\x01\xb6" + int(bits, 2).to_bytes(len(bits) // 8, "big")


def packed(extradata: bytes, packets: list[bytes], types: bytes) -> list[bytes]:
    """Each B-VOP behind its P-VOP, and a VOP that is not coded in its place."""
    out = []
    for kind, packet in zip(types.decode(), packets, strict=True):
        if kind == "B":
            out[-1] += packet
            out.append(not_coded(extradata))
        else:
            out.append(packet)
    return out


@pytest.mark.parametrize("together", [1, 3, 1000])
def test_a_packed_bitstream_gives_the_vops_of_a_plain_one(
    stream: tuple[bytes, list[bytes]], together: int
) -> None:
    extradata, packets = stream
    plain = scan(extradata, packets, together)
    types = plain.types.tobytes()
    assert types.startswith(b"IPBPB")
    assert plain.gives.tobytes() == types
    packs = packed(extradata, packets, types)
    pictures = scan(extradata + DIVX_PACKED, packs, together)
    assert pictures.types.tobytes() == types.replace(b"B", b"N")
    assert pictures.gives.tobytes() == types
    assert given(pictures, packs) == given(plain, packets)
    np.testing.assert_array_equal(pictures.reference, True)
    np.testing.assert_array_equal(plain.reference, plain.types != b"B")


def test_without_the_mark_the_first_vop_of_a_packet_alone_is_decoded(
    stream: tuple[bytes, list[bytes]],
) -> None:
    extradata, packets = stream
    packs = packed(extradata, packets, scan(extradata, packets).types.tobytes())
    pictures = scan(extradata, packs)
    assert b"B" not in pictures.gives
    assert pictures.gives[pictures.types == b"N"].tolist() == [b""] * int((pictures.types == b"N").sum())


def test_packets_before_a_sequence_header_are_unread(stream: tuple[bytes, list[bytes]]) -> None:
    extradata, packets = stream
    pictures = scan(b"", [packets[1], extradata + packets[0], packets[1]])
    assert pictures.types.tobytes() == b"?IP"
    assert pictures.headers.tolist() == [0, 1, 1]
    assert pictures.starts.tolist() == [False, True, False]


@pytest.mark.parametrize("before", [b"", b"\0\0\1\xb2other"])
def test_the_time_code_of_a_group_counts_alone_and_among_other_headers(
    stream: tuple[bytes, list[bytes]], before: bytes
) -> None:
    extradata, packets = stream
    vop = packets[0][packets[0].index(VOP_START) :]
    hours, minutes, seconds = 1, 2, 3
    code = (hours << 13 | minutes << 7 | 1 << 6 | seconds) << 6
    front = before + GROUP_START + code.to_bytes(3, "big")
    plain, timed = scan(extradata, [vop]), scan(extradata, [front + vop])
    vol = find_vol(extradata)
    assert vol is not None
    assert timed.times[0] == plain.times[0] + 3723 * vol.resolution
    assert timed.offsets[0] == len(front)


def test_no_packet_gives_no_picture() -> None:
    assert len(scan(b"", []).types) == 0
