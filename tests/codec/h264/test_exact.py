"""Types, vectors, quantizers and rebuilt samples are FFmpeg's, as h264_oracle compares them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.encoders import encode
from helpers.h264_oracle import compare

from cvr_lightning.codec import CompressedVideoReader
from cvr_lightning.codec.h264.macroblocks import MacroblockKind, Macroblocks

ALL = "partitions=all:me=umh:subme=9"
TOOLS = {
    "defaults": {},
    "baseline": {"profile": "baseline"},
    "CAVLC, 8x8 transform": {"bf": "0", "x264-params": f"cabac=0:8x8dct=1:{ALL}"},
    "CAVLC, 4x4 transform": {"bf": "0", "x264-params": f"cabac=0:8x8dct=0:{ALL}"},
    "CABAC, 4x4 transform": {"bf": "0", "x264-params": f"8x8dct=0:{ALL}"},
    "all partitions, 16 references": {"refs": "16", "bf": "0", "x264-params": ALL},
    "weights": {"x264-params": f"weightp=2:bframes=2:{ALL}"},
    "B-frames between": {"x264-params": "bframes=3:b-pyramid=normal:ref=4"},
    "slices": {"x264-params": "slices=4"},
    "zero latency": {"tune": "zerolatency"},
    "quantizer matrices": {"x264-params": "cqm=jvt:8x8dct=1"},
    "fine": {"x264-params": "qp=2"},
    "coarse": {"x264-params": "qp=48"},
    "quantizer changes": {"x264-params": "aq-mode=3:aq-strength=2:crf=20"},
    "chroma offsets": {"x264-params": "chroma-qp-offset=-7:qp=30"},
    "constrained intra": {"x264-params": "constrained-intra=1:qp=30"},
    "intra refresh": {"x264-params": "intra-refresh=1:keyint=10:bframes=0"},
    "open GOP": {"x264-params": "open-gop=1:keyint=8:bframes=2"},
    "no deblocking": {"x264-params": "no-deblock=1"},
}
B = "b-adapt=0:keyint=12"
B_TOOLS = {
    "one, spatial": f"bframes=1:direct=spatial:{B}:{ALL}",
    "temporal, CABAC": f"bframes=2:b-pyramid=none:direct=temporal:{B}:{ALL}",
    "temporal, pyramid": f"bframes=3:b-pyramid=normal:direct=temporal:ref=4:{B}:{ALL}",
    "spatial, pyramid": f"bframes=3:b-pyramid=strict:direct=spatial:ref=3:{B}:{ALL}",
    "spatial, CAVLC": f"bframes=3:direct=spatial:cabac=0:8x8dct=1:{B}:{ALL}",
    "temporal, CAVLC": f"bframes=3:direct=temporal:cabac=0:8x8dct=1:ref=3:{B}:{ALL}",
    "4x4 transform": f"bframes=2:direct=auto:8x8dct=0:{B}:{ALL}",
    "implicit weights": f"bframes=3:b-pyramid=normal:weightb=1:ref=5:direct=temporal:{B}:{ALL}",
    "no weights": f"bframes=3:weightb=0:weightp=2:direct=auto:{B}:{ALL}",
    "slices": f"bframes=2:slices=3:direct=temporal:{B}",
    "open GOP": "bframes=3:open-gop=1:keyint=6:direct=temporal",
    "coarse": f"bframes=3:qp=44:direct=auto:{B}",
    "fine": f"bframes=2:qp=4:direct=auto:{B}",
}
SIZES = [(176, 144), (130, 34), (16, 16)]
STREAMS = {
    "conformance": """BA1_Sony_D.jsv BAMQ1_JVC_C.264 BANM_MW_D.264 BASQP1_Sony_C.jsv BA_MW_D.264 CI_MW_D.264
        Cisco_Men_whisper_640x320_CABAC_Bframe_9.264 JM_cqm_cabac.264 MIDR_MW_D.264 MR1_BT_A.h264 MR1_MW_A.264
        NL1_Sony_D.jsv NRF_MW_E.264 QCIF_2P_I_allIPCM.264 SVA_BA1_B.264 SVA_FM1_E.264 SVA_NL1_B.264 SarVui.264
        Zhling_1280x720.264 jm_1080p_allslice.264 test_cif_P_CABAC_slice.264 test_qcif_cabac.264
        test_scalinglist_jm.264""",
    "jcodec": "cabac_* cavlc_* iframe_* issue379* pframe_* scale_list.264 seq_mmco* seq_reorder*",
    "kinetics": "*.mp4",
    "phones": "bbb_800*.mp4 realshort.mp4 sample_2_byte* sample_with_* sample_without*",
}


def assert_exact(path: str | Path, frames: int = 20) -> dict[str, int]:
    report = compare(str(path), frames)
    wrong = {name: count for name, count in report.items() if name.startswith("wrong") and count}
    assert not wrong
    assert report["frames"] > 0
    return report


@pytest.mark.parametrize("tool", TOOLS)
def test_encoded_clips(tmp_path: Path, tool: str) -> None:
    size = SIZES[0]
    path = encode(tmp_path / "clip.mp4", size, frames=14, codec="libx264", options=TOOLS[tool])
    report = assert_exact(path)
    assert report["vectors"] > 0
    with CompressedVideoReader(path) as video:
        assert video.parser == "h264"
        parsed = [video.parse(n) for n, kind in enumerate(video.info.frame_types) if kind == "P"]
    seen = {kind for item in parsed if isinstance(item, Macroblocks) for kind in item.kinds.ravel().tolist()}
    if "16 references" in tool or "8x8 transform" in tool:
        assert {MacroblockKind.INTER_8X8, MacroblockKind.INTER_16X8, MacroblockKind.INTER_8X16} <= seen
    if "slices" in tool:
        assert all(item.slices.max() >= 1 for item in parsed if isinstance(item, Macroblocks))


@pytest.mark.parametrize("tool", B_TOOLS)
def test_b_frames(tmp_path: Path, tool: str) -> None:
    options = {"x264-params": B_TOOLS[tool]}
    path = encode(tmp_path / "clip.mp4", SIZES[0], frames=16, codec="libx264", options=options)
    report = assert_exact(path)
    assert report["B"] > 0
    with CompressedVideoReader(path) as video:
        parsed = [video.parse(n) for n, kind in enumerate(video.info.frame_types) if kind == "B"]
    blocks = [item for item in parsed if isinstance(item, Macroblocks)]
    assert any((item.indices.min(0) >= 0).any() for item in blocks)  # predicted from both lists
    skipped = [item.indices[:, ::2, ::2][:, item.kinds == MacroblockKind.SKIPPED] for item in blocks]
    assert all((indices.max(0) >= 0).all() for indices in skipped)


@pytest.mark.parametrize("size", SIZES[1:], ids=str)
@pytest.mark.parametrize("tool", ["defaults", "CAVLC, 8x8 transform"])
def test_small_sizes(tmp_path: Path, tool: str, size: tuple[int, int]) -> None:
    assert_exact(encode(tmp_path / "clip.mp4", size, frames=14, codec="libx264", options=TOOLS[tool]))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "h264"])
def test_containers(tmp_path: Path, suffix: str) -> None:
    path = encode(tmp_path / f"clip.{suffix}", (96, 64), frames=26, codec="libx264")
    assert_exact(path, 26)
    with CompressedVideoReader(path) as video:
        clip = video.read(video.segments(3, 2))
        assert clip.iframes.any()
        assert clip.motion.any()


def test_monochrome(tmp_path: Path) -> None:
    assert_exact(encode(tmp_path / "clip.mp4", frames=14, codec="libx264", pix_fmt="gray"))


@pytest.mark.parametrize("folder", STREAMS)
def test_real_streams(h264_streams: Callable[[str], Path], folder: str) -> None:
    root = h264_streams(folder)
    paths = sorted({path for pattern in STREAMS[folder].split() for path in root.glob(pattern)})
    assert paths
    for path in paths:
        assert_exact(path, int(os.environ.get("CVR_H264_FRAMES", "12")))


@pytest.mark.parametrize(
    "name", ["h264_320x240_bframes.mp4", "h264_k400_bframes.mp4", "h264_k400_no_bframes.mkv"]
)
def test_real_clips(clip: Callable[[str], str], name: str) -> None:
    assert_exact(clip(name), 40)
