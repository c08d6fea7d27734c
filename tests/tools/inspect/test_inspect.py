"""The figures of ``cvr inspect`` are those of PyAV; every file gives a sheet or an error with its remedy."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import matplotlib.image
import numpy as np
import pytest
import torch
from av.codec.context import Flags2
from av.video.frame import PictureType
from helpers.encoders import COARSE, encode
from helpers.tiny_datasets import Clips

from cvr_lightning.cli.main import main
from cvr_lightning.codec.container.packets import open_packets
from cvr_lightning.codec.errors import PREPARE_OPTIONS, UnsupportedStreamError
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.inference.streaming import StreamingRecognizer
from cvr_lightning.models import CompressedVideoRecognizer
from cvr_lightning.tools.inspect.following import Following, follow
from cvr_lightning.tools.inspect.sheet import draw_sheet
from cvr_lightning.tools.inspect.survey import survey
from cvr_lightning.tools.inspect.text import as_text, gops_text, printable
from cvr_lightning.tools.inspect.timeline import followed_frames

FOUR_VECTORS = {"flags": "+mv4", "mbd": "rd"}
REAL = {
    "av1.mkv": ("av1", "ffmpeg", "needed"),
    "corrupted.mp4": ("h264", "h264", "damaged"),
    "divx_4x4.avi": ("mpeg4", "mpeg4", "optional"),
    "dx50_bframes.avi": ("mpeg4", "mpeg4", "optional"),
    "h264_10bit.mp4": ("h264", "ffmpeg", "needed"),
    "h264_320x240_bframes.mp4": ("h264", "h264", "optional"),
    "h264_bad_metadata.mp4": ("h264", "h264", "optional"),
    "h264_k400_bframes.mp4": ("h264", "h264", "optional"),
    "h264_k400_no_bframes.mkv": ("h264", "h264", "optional"),
    "hevc.mp4": ("hevc", "ffmpeg", "needed"),
    "mpeg1_ucf11_biking.mpg": ("mpeg1video", "ffmpeg", "needed"),
    "mpeg4_720p.mp4": ("mpeg4", "mpeg4", "optional"),
    "rotated_90.mov": ("h264", "h264", "optional"),
    "small_video.avi": ("mjpeg", "ffmpeg", "needed"),
    "unordered.mov": ("h264", "h264", "optional"),
    "v_BaseballPitch_g01_c03.avi": ("mpeg4", "mpeg4", "optional"),
    "v_Biking_g01_c01.avi": ("mpeg4", "mpeg4", "optional"),
    "v_TaiChi_g01_c02.avi": ("mpeg4", "mpeg4", "optional"),
    "xvid_320x268.avi": ("mpeg4", "mpeg4", "optional"),
    "xvid_354x226.avi": ("mpeg4", "mpeg4", "optional"),
    "xvid_448x132.avi": ("mpeg4", "mpeg4", "optional"),
    "xvid_asp_packed_bframes.avi": ("mpeg4", "mpeg4", "optional"),
    "xvid_single_iframe.avi": ("mpeg4", "mpeg4", "optional"),
}


def inspect(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    main(["inspect", *arguments, "--json"])
    found: dict = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("name", sorted(REAL))
def test_every_real_clip_gives_a_sheet_and_a_verdict(
    clip: Callable[[str], str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codec, parser, verdict = REAL[name]
    sheet = tmp_path / "sheet.png"
    main(["inspect", clip(name), "--output", str(sheet)])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    text = {line[0]: line[1] for line in lines if len(line) == 2}
    assert text["codec"].startswith(f"{codec} ")
    assert text["parser"].startswith(f"{parser}: ")
    assert text["prepare"].startswith(f"{verdict}: ")
    assert ("h264 instead of MPEG-4 Part 2" in text["prepare"]) == (
        parser == "h264" and verdict == "optional"
    )
    assert matplotlib.image.imread(sheet).shape[1] == 1820


def test_frames_bits_and_gops_are_those_of_pyav(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = encode(tmp_path / "clip.mp4", options=FOUR_VECTORS)
    found = inspect(capsys, str(path))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        duration = float(stream.duration * stream.time_base)
    with av.open(str(path)) as container:
        types = "".join(PictureType(frame.pict_type).name for frame in container.decode(video=0))
    assert found["frame_types"] == types
    assert found["gop_lengths"] == [12, 12, 6]
    sizes = [8 * (packet.size - bytes(packet).index(b"\0\0\1\xb6")) for packet in packets]
    assert found["bits_of_frames"] == sizes  # from the start code of the picture on
    assert found["bitrate_bit_per_s"] == round(8 * sum(packet.size for packet in packets) / duration)
    assert (found["width"], found["height"], found["fps"]) == (176, 144, 25.0)
    assert found["file_bytes"] == path.stat().st_size


def test_fractions_of_blocks_and_vectors_are_those_of_pyav(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """FFmpeg exports the vectors of all blocks but intra ones, those of four vectors as blocks of 8x8."""
    path = encode(tmp_path / "clip.mp4", options=FOUR_VECTORS)
    found = inspect(capsys, str(path))
    predicted = four = 0
    lengths, frames = [], 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.flags2 |= Flags2.export_mvs
        for frame in container.decode(stream):
            if PictureType(frame.pict_type).name != "P":
                continue
            frames += 1
            for vector in frame.side_data.get("MOTION_VECTORS"):
                blocks = vector.w * vector.h // 64
                predicted += blocks
                four += blocks if vector.w == 8 else 0
                lengths += [np.hypot(vector.motion_x, vector.motion_y) / vector.motion_scale] * blocks
    total = frames * (176 // 8) * (144 // 8)
    assert 0 < four < predicted < total
    assert found["blocks"]["intra"] == pytest.approx(1 - predicted / total)
    assert found["blocks"]["inter-4MV"] == pytest.approx(four / total)
    assert sum(found["blocks"].values()) == pytest.approx(1)
    assert found["vector_longest_px"] == pytest.approx(max(lengths))
    assert found["vector_mean_px"] == pytest.approx(sum(lengths) / total)


def test_the_text_rounds_the_same_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = encode(tmp_path / "clip.avi", options=COARSE)
    found = inspect(capsys, str(path))
    text = as_text(survey(path))
    assert f"inter {100 * found['blocks']['inter']:.1f} %" in text
    assert f"{found['bitrate_bit_per_s'] / 1000:.1f} kbit/s" in text
    assert "30 (3 I, 27 P, 0 B), 25.00 frames/s, 1.20 s" in text
    assert "of 27 of 27 P-frames" in text
    assert "176x144 instead of 340x256" in text


@pytest.mark.parametrize(
    ("lengths", "text"),
    [
        ((), "none: no I-frame"),
        ((12, 5), "2 of 12, 5 frames"),
        ((12,) * 9, "9 of 12 frames"),
        ((*range(1, 8), 20), "8 of 1 to 20 frames, median 4.5"),
    ],
)
def test_gops_are_counted_and_measured(lengths: tuple[int, ...], text: str) -> None:
    assert gops_text(lengths) == text


def test_a_codec_without_vectors_shows_iframes_and_advises_to_prepare(
    clips: Clips, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["inspect", str(clips.webm), "--output", str(tmp_path / "sheet.png")])
    text = capsys.readouterr().out
    assert "readable  I-frames; not more: codec vp9" in text
    assert "prepare   needed: codec vp9: FFmpeg exports no motion vectors of it" in text
    assert f"ffmpeg -i {clips.webm} {PREPARE_OPTIONS}" in text
    assert f"cvr prepare {clips.webm.parent}" in text
    assert matplotlib.image.imread(tmp_path / "sheet.png").std() > 0


@pytest.mark.parametrize(
    ("here", "file", "command"),
    [
        (".", "videos/wave/a.mp4", "cvr prepare videos/wave prepared"),
        ("videos/wave", "a.mp4", "cvr prepare . ../prepared"),
        ("videos/wave", "../a.mp4", "cvr prepare .. ../../prepared"),
        ("videos", "wave/a.mp4", "cvr prepare wave prepared"),
    ],
)
def test_the_proposed_folder_is_inside_neither_the_videos_nor_their_classes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    here: str,
    file: str,
    command: str,
) -> None:
    (tmp_path / "videos/wave").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / here)
    encode(Path(file), frames=4)
    assert inspect(capsys, file)["prepare"]["commands"][1] == command


def test_skipped_blocks_are_not_counted_where_ffmpeg_does_not_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = encode(tmp_path / "clip.mpg", codec="mpeg1video", frames=14)
    found = inspect(capsys, str(path))
    assert found["blocks"]["skipped"] is None
    assert found["blocks"]["inter"] > 0
    text = as_text(survey(path))
    assert f"blocks    inter or skipped {100 * found['blocks']['inter']:.1f} %, inter-4MV" in text


def test_a_prepared_file_needs_no_preparation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = encode(tmp_path / "clip.mp4", size=(340, 256), frames=4)
    assert inspect(capsys, str(path))["prepare"] == {
        "verdict": "not needed",
        "why": "it has the format that cvr prepare writes",
        "commands": [],
    }


def test_a_damaged_frame_is_named_and_the_others_are_shown(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.avi", frames=14)
    with av.open(str(path)) as container:
        packet = [bytes(packet) for packet in container.demux(video=0)][5]
    data = path.read_bytes()
    assert data.count(packet) == 1
    path.write_bytes(data.replace(packet, packet[:12] + b"\0" * (len(packet) - 12)))
    found = survey(path)
    assert len(found.damage) == 1
    assert found.damage[0].startswith("frame 5: ")
    assert found.advice.verdict == "damaged"
    assert "prepare   damaged: fetch or encode the file again, or leave it out" in as_text(found)
    assert found.pframes is not None
    assert sorted(found.pframes.frames) == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 13]
    assert draw_sheet(found).axes


def test_a_hostile_name_is_drawn_printed_and_quoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = encode(tmp_path / "$\\frac{a\x1b[2J'; b.mp4", frames=3)
    main(["inspect", str(path), "--output", str(tmp_path / "sheet.png")])
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "$\\frac{a\\x1b[2J'; b.mp4" in text
    assert (tmp_path / "sheet.png").exists()
    assert printable("a\n\udc80é") == "a\\n\\udc80é"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.mp4", None, "none.mp4: no such file; check the path"),
        ("empty.mp4", b"", "empty.mp4: the file is empty; fetch or encode the file again, or leave it out"),
        ("text.mp4", b"no video", "text.mp4: FFmpeg cannot open it"),
    ],
)
def test_a_file_that_is_not_a_video_is_an_error_with_a_solution(
    name: str, content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit, match="1"):
        main(["inspect", str(path), "--output", str(tmp_path / "sheet.png")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "sheet.jpg"], "sheet.jpg: a sheet is a PNG; give --output a name that ends in .png"),
        (["--json", "--checkpoint", "x.ckpt"], "--checkpoint adds to the sheet: with --json, also give"),
    ],
)
def test_options_without_effect_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["inspect", "clip.mp4", *arguments])
    assert message in capsys.readouterr().err


def test_the_sheet_is_named_after_the_file_by_default(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["inspect", str(clips.mp4)])
    assert "  sheet     clip.sheet.png" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["clip.sheet.png"]


SAMPLING = ClipSampling(segments=3, pframes=3, size=(72, 104), crop=64, coefficients=(6, 2))
NAMES = ("$a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def recognizer() -> StreamingRecognizer:
    torch.manual_seed(0)
    model = CompressedVideoRecognizer(len(NAMES), residual_channels=SAMPLING.residual_channels)
    return StreamingRecognizer(model.eval(), NAMES, SAMPLING, stride=5)


@pytest.fixture(scope="module")
def followed(
    recognizer: StreamingRecognizer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Following]:
    path = encode(tmp_path_factory.mktemp("followed") / "clip.mp4", options=COARSE)
    return path, follow(path, recognizer)


def test_labels_over_time_are_those_of_the_streaming_recognizer(
    followed: tuple[Path, Following], recognizer: StreamingRecognizer
) -> None:
    path, following = followed
    with open_packets(path) as packets:
        expected = torch.stack([prediction.probabilities for prediction in recognizer(packets)])
    np.testing.assert_array_equal(following.probabilities, expected.numpy())


def test_spikes_are_there_where_a_segment_is_read(followed: tuple[Path, Following]) -> None:
    """Of 11 P-frames behind an I-frame, segments of 3 in every 5 read these."""
    read = [True, True, True, False, False, True, True, True, False, False, True]
    expected = [*read, *read, *read[:5]]
    _, following = followed
    assert len(following.spikes) == 4
    for spikes in following.spikes.values():
        assert (~np.isnan(spikes).any(axis=1)).tolist() == expected
        assert np.nanmin(spikes) >= 0
        assert np.nanmax(spikes) <= 1


def test_the_sheet_gains_a_track_for_labels_and_each_spiking_layer(followed: tuple[Path, Following]) -> None:
    path, following = followed
    found = survey(path)
    labels = {axes.get_ylabel().split("\n")[0] for axes in draw_sheet(found, following).axes}
    assert labels - {axes.get_ylabel().split("\n")[0] for axes in draw_sheet(found).axes} >= {
        "label",
        *following.spikes,
    }


def test_frames_that_are_followed_are_p_frames_behind_the_first_iframe() -> None:
    assert followed_frames("PBIPBPIP") == [3, 5, 7]


def test_frames_of_unread_type_are_counted_so(followed: tuple[Path, Following]) -> None:
    found = survey(followed[0])
    unread = replace(found, info=replace(found.info, frame_types="I" + "?" * 29))
    assert "1 I, 0 P, 0 B, 29 of unread type" in as_text(unread)


def test_a_video_without_p_frames_is_not_followed(recognizer: StreamingRecognizer, tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", frames=3, gop=1)
    with pytest.raises(UnsupportedStreamError, match=r"clip\.mp4: it has no P-frame to follow; prepare it"):
        follow(path, recognizer)
