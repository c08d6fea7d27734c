import random

import pytest

from cvr_lightning.codec import Segment, spread_segments

PREPARED = "I" + 11 * "P"
"""A GOP as the field prepares its videos."""


def test_spans_are_equal_and_windows_in_their_middle() -> None:
    assert spread_segments(2 * PREPARED, 2, 3) == [Segment(0, (5, 6, 7)), Segment(12, (17, 18, 19))]


def test_offset_picks_the_window_of_the_span() -> None:
    types = "I" + 10 * "P"
    assert spread_segments(types, 2, 1, 0.0) == [Segment(0, (1,)), Segment(0, (6,))]
    assert spread_segments(types, 2, 1, [0.99, 0.5]) == [Segment(0, (5,)), Segment(0, (8,))]
    assert spread_segments(types, 1, 9, 0.4) == [Segment(0, (1, 2, 3, 4, 5, 6, 7, 8, 9))]
    assert spread_segments(types, 1, 9, 0.5) == [Segment(0, (2, 3, 4, 5, 6, 7, 8, 9, 10))]


def test_a_window_never_crosses_into_another_gop() -> None:
    starts = [spread_segments("IPPPPIPPP", 1, 3, place / 3)[0] for place in range(3)]
    assert starts == [Segment(0, (1, 2, 3)), Segment(0, (2, 3, 4)), Segment(5, (6, 7, 8))]


def test_b_frames_are_skipped() -> None:
    assert spread_segments("IBBPBBPBBP", 1, 3) == [Segment(0, (3, 6, 9))]


def test_gops_shorter_than_a_window_are_taken_whole_and_still_chosen_among() -> None:
    assert spread_segments("IPI", 1, 3) == [Segment(0, (1,))]
    assert [spread_segments("IPPIPPIP", 1, 3, place)[0].pframes for place in (0.1, 0.6)] == [(1, 2), (4, 5)]


def test_a_short_video_is_divided_and_never_repeated() -> None:
    assert spread_segments("IPPPP", 2, 3) == [Segment(0, (1, 2)), Segment(0, (3, 4))]
    assert spread_segments("IPPIP", 6, 3) == [
        Segment(0, ()),
        Segment(0, (1,)),
        Segment(0, ()),
        Segment(0, (2,)),
        Segment(3, ()),
        Segment(3, (4,)),
    ]


def test_random_videos_keep_all_invariants() -> None:
    draw = random.Random(0)
    for _ in range(300):
        types = "I" + "".join(draw.choices("IPB", (1, 8, 3), k=draw.randrange(60)))
        n, t = draw.randint(1, 12), draw.randint(1, 8)
        chosen = spread_segments(types, n, t, [draw.random() for _ in range(n)])
        pframes = [frame for segment in chosen for frame in segment.pframes]
        assert len(chosen) == n
        assert pframes == sorted(set(pframes))
        assert [segment.iframe for segment in chosen] == sorted(segment.iframe for segment in chosen)
        for segment in chosen:
            assert types[segment.iframe] == "I"
            assert len(segment.pframes) <= t
            if segment.pframes:  # consecutive P-frames of the GOP of its I-frame
                gop = types[segment.iframe + 1 : segment.pframes[-1] + 1]
                assert "I" not in gop
                span = range(segment.pframes[0], segment.pframes[-1] + 1)
                assert segment.pframes == tuple(frame for frame in span if types[frame] == "P")
        if n == 1 and "P" in types:
            gops = types.replace("B", "").split("I")
            assert len(chosen[0].pframes) == min(t, max(map(len, gops)))


def test_without_pframes_iframes_are_spread() -> None:
    assert spread_segments("IIIIIIII", 2, 3) == [Segment(2, ()), Segment(6, ())]
    assert spread_segments("I???", 2, 3) == [Segment(0, ()), Segment(0, ())]


def test_pframes_before_any_iframe_are_left_out() -> None:
    assert spread_segments("PPIP", 1, 1) == [Segment(2, (3,))]


@pytest.mark.parametrize(("n", "t", "offsets"), [(0, 1, 0.5), (1, -1, 0.5), (1, 1, 1.0), (2, 1, [0.5])])
def test_arguments_are_checked(n: int, t: int, offsets: object) -> None:
    with pytest.raises(ValueError, match=r"need|offsets"):
        spread_segments("IP", n, t, offsets)  # type: ignore[arg-type]


def test_a_video_without_an_iframe_is_refused() -> None:
    with pytest.raises(ValueError, match="no I-frame"):
        spread_segments("PP", 1, 1)
