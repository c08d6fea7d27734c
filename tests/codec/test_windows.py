import pytest

from cvr_lightning.codec import Segment, segments


def test_spans_are_equal_and_windows_centred() -> None:
    types = "I" + 11 * "P" + "I" + 11 * "P"
    assert segments(types, 2, 3) == [Segment(0, (5, 6, 7)), Segment(12, (17, 18, 19))]


def test_offset_picks_the_pframe_of_the_span() -> None:
    types = "I" + 10 * "P"
    assert segments(types, 2, 1, 0.0) == [Segment(0, (1,)), Segment(0, (6,))]
    assert segments(types, 2, 1, [0.99, 0.5]) == [Segment(0, (5,)), Segment(0, (8,))]


def test_window_stays_inside_its_gop() -> None:
    types = "IPPPIPPP"
    assert segments(types, 1, 3, 0.0)[0] == Segment(0, (1, 2, 3))
    assert segments(types, 6, 3)[3] == Segment(4, (5, 6, 7))


def test_b_frames_are_passed_over() -> None:
    assert segments("IBBPBBPBBP", 1, 3) == [Segment(0, (3, 6, 9))]


def test_short_gop_gives_short_window() -> None:
    assert segments("IPI", 1, 3) == [Segment(0, (1,))]


def test_without_pframes_iframes_are_spread() -> None:
    assert segments("IIIIIIII", 2, 3) == [Segment(2, ()), Segment(6, ())]
    assert segments("I???", 2, 3) == [Segment(0, ()), Segment(0, ())]


def test_pframes_before_any_iframe_are_left_out() -> None:
    assert segments("PPIP", 2, 1) == [Segment(2, (3,)), Segment(2, (3,))]


@pytest.mark.parametrize(("n", "t", "offsets"), [(0, 1, 0.5), (1, -1, 0.5), (1, 1, 1.0), (2, 1, [0.5])])
def test_arguments_are_checked(n: int, t: int, offsets: object) -> None:
    with pytest.raises(ValueError, match=r"need|offsets"):
        segments("IP", n, t, offsets)  # type: ignore[arg-type]


def test_no_iframe() -> None:
    with pytest.raises(ValueError, match="no I-frame"):
        segments("PP", 1, 1)
