"""What pictures show, read back from the pictures."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import colormaps

from cvr_lightning.callbacks.confusion import confusions, draw_confusion_matrix, hardest
from cvr_lightning.codec.arrays import BlockMode
from cvr_lightning.plots.clips import ClipPicture, draw_clips, flow_colors, residual_energy
from cvr_lightning.plots.spikes import ClipSpikes, draw_spike_maps, draw_spike_raster


def picture(**changes: object) -> ClipPicture:
    fields: dict[str, object] = {
        "title": "videos/jump.avi",
        "subtitle": "segment 1, P-frame 0",
        "iframe": np.full((3, 32, 48), 90, np.uint8),
        "motion": np.zeros((2, 4, 6), np.float32),
        "residual": np.zeros((6, 4, 6), np.float32),
        "modes": np.full((4, 6), BlockMode.SKIPPED, np.uint8),
        "probabilities": np.array([0.7, 0.2, 0.1], np.float32),
        "label": 1,
        "loss": 1.609,
    }
    return ClipPicture(**{**fields, **changes})  # type: ignore[arg-type]


def texts(figure: object) -> str:
    """All that is written in a figure."""
    axes = figure.axes  # type: ignore[attr-defined]
    written = [a.get_title() for a in axes] + [t.get_text() for a in axes for t in a.texts]
    legends = [t.get_text() for a in axes if a.get_legend() for t in a.get_legend().get_texts()]
    return "\n".join([*written, *legends, *(t.get_text() for t in figure.texts)])  # type: ignore[attr-defined]


def test_hue_is_the_direction_and_white_is_rest() -> None:
    field = np.zeros((2, 1, 5), np.float32)
    field[:, 0, 1:] = [[2, -2, 0, 0], [0, 0, 2, 1]]
    colors = flow_colors(field, longest=2.0)[0]
    assert colors[0].tolist() == [1, 1, 1]
    assert colors[1].tolist() == [1, 0, 0]  # right is red
    assert colors[2].tolist() == [0, 1, 1]  # left is its opposite
    assert colors[3] == pytest.approx([0.5, 1, 0])  # down
    assert colors[4] == pytest.approx([0.75, 1, 0.5])  # down, half as far


def test_residual_energy_is_the_root_mean_square_of_the_pixels() -> None:
    differences = np.random.default_rng(0).normal(0, 9, (8, 8))
    place, frequency = np.arange(8), np.arange(8)[:, None]
    basis = np.sqrt(2 / 8) * np.cos((2 * place + 1) * frequency * np.pi / 16)
    basis[0] /= np.sqrt(2)
    coefficients = (basis @ differences @ basis.T).reshape(64, 1, 1).astype(np.float32)
    assert residual_energy(coefficients)[0, 0] == pytest.approx(np.sqrt((differences**2).mean()), rel=1e-5)
    pixels = np.full((3, 2, 2), 7, np.float32)
    assert residual_energy(pixels, samples=3).tolist() == [[7, 7], [7, 7]]


def test_a_clip_is_labeled_with_units_and_fractions() -> None:
    modes = np.full((4, 6), BlockMode.SKIPPED, np.uint8)
    modes[0] = BlockMode.INTRA
    motion = np.zeros((2, 4, 6), np.float32)
    motion[:, 1, 1] = (3, 4)
    residual = np.zeros((6, 4, 6), np.float32)
    residual[0, 0, 0] = 8 * 21
    figure = draw_clips(
        [picture(modes=modes, motion=motion, residual=residual)], ["run", "jump", "swim"], "best"
    )
    found = texts(figure)
    for expected in (
        "videos/jump.avi\nI-frame, segment 1, P-frame 0",
        "longest 5.0 px",
        "residual energy, RMS\nblack 0, brightest 21 gray levels",
        "skipped 75 %",
        "intra 25 %",
        "true class: jump\nloss 1.61 nats",
        "run  70 %",
    ):
        assert expected in found


@pytest.mark.parametrize("mode", BlockMode)
def test_a_block_has_the_color_that_the_legend_names(mode: BlockMode) -> None:
    axes = draw_clips([picture(modes=np.full((4, 6), mode, np.uint8))], ["a", "b", "c"], "").axes[3]
    (image,), (patch,) = axes.images, axes.get_legend().get_patches()
    assert image.to_rgba(image.get_array())[0, 0].tolist() == pytest.approx(patch.get_facecolor())


@pytest.mark.parametrize("label", [-1, 0, 1])
def test_clips_at_rest_without_label_or_prediction_and_in_pixels_are_drawn(label: int) -> None:
    pixels = {"motion": np.zeros((2, 32, 48), np.float32), "residual": np.ones((3, 32, 48), np.float32)}
    clips = [picture(label=label, loss=None, **pixels), picture(probabilities=None)]
    figure = draw_clips(clips, ["a", "b", "c"], "two")
    assert len(figure.axes) == 10
    assert ("no label" in texts(figure)) == (label < 0)
    assert len(draw_clips(clips[1:], ["a", "b", "c"], "no prediction").axes) == 4
    figure.canvas.draw()


STRANGE = "a_$b_$_caf\udce9"
"""Mathematics to matplotlib, and a byte that is no UTF-8: names that a file and a folder may have."""


def test_names_are_shown_as_they_are() -> None:
    figures = [
        draw_clips([picture(title=f"{STRANGE}.avi")], [STRANGE, STRANGE, "c"], "strange"),
        draw_spike_raster(spikes(), STRANGE),
        draw_spike_maps(spikes(), STRANGE),
        *(draw_confusion_matrix(np.ones((n, n), np.int64), [STRANGE] * n) for n in (2, 30)),
    ]
    for figure in figures:
        figure.canvas.draw()
    shown = r"a_$b_$_caf\udce9"
    assert texts(figures[0]).count(shown) == 4  # the title, two bars and the true class
    assert figures[1].get_suptitle().startswith(shown)
    assert {label.get_text() for label in figures[3].axes[0].get_yticklabels()} == {shown}
    assert shown in texts(figures[4])


def spikes(segments: int = 6) -> ClipSpikes:
    exists = np.ones((segments, 3), bool)
    exists[-1, -1] = False
    raster = np.zeros((segments, 3, 5), np.float32)
    raster[min(2, segments - 1), 1, 4] = 0.25
    return ClipSpikes(
        video=0,
        iframes=np.zeros((segments, 3, 32, 32), np.uint8),
        exists=exists,
        raster={"low": raster},
        maps={"low": np.full((segments, 2, 2), 0.1, np.float32)},
    )


def test_the_raster_is_channel_by_time_in_per_cent() -> None:
    figure = draw_spike_raster(spikes(), "clip")
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == (5, 18)
    assert shown[4, 7] == 25
    assert np.ma.getmaskarray(np.ma.masked_invalid(shown))[:, 17].all()  # no such P-frame
    assert not np.ma.getmaskarray(np.ma.masked_invalid(shown))[:, :17].any()


def test_maps_lie_below_the_frames_of_evenly_spread_segments() -> None:
    figure = draw_spike_maps(spikes(), "clip", segments=3)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["segment 0", "segment 2", "segment 5"]
    assert len(draw_spike_maps(spikes(1), "clip").axes) == 2  # an I-frame and a map


def test_a_spike_map_has_the_colors_of_its_color_bar() -> None:
    figure = draw_spike_maps(spikes(1), "clip")
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())  # type: ignore[attr-defined]
    x, y = figure.axes[1].transAxes.transform((0.25, 0.25)).astype(int)
    brightest = np.array(colormaps["inferno"](1.0, bytes=True))
    np.testing.assert_array_equal(drawn[len(drawn) - y, x], brightest)


@pytest.mark.parametrize("classes", [3, 101, 400])
def test_confusion_matrices_stay_readable(classes: int) -> None:
    counts = np.eye(classes, dtype=np.int64) * 9
    counts[1, 2] = 6
    names = [f"class {index}" for index in range(classes)]
    figure = draw_confusion_matrix(counts, names)
    assert max(figure.get_size_inches()) * figure.dpi < 2000
    axes = figure.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) <= 60
    named = [names[int(tick)] for tick in axes.get_yticks()]
    assert labels == named
    if classes == 3:
        assert {"100", "60", "40"} == {text.get_text() for text in axes.texts}
    else:
        assert "class 1 → class 2: 6 of 15" in texts(figure)
        assert "class 1: 9 of 15" in texts(figure)


def test_confusions_and_hard_classes_are_sorted_and_leave_out_classes_without_videos() -> None:
    counts = np.array([[3, 1, 4, 0], [0, 5, 2, 0], [0, 0, 7, 0], [0, 0, 0, 0]])
    assert confusions(counts, list("abcd"))[1:] == [
        "  a → c: 4 of 8",
        "  b → c: 2 of 7",
        "  a → b: 1 of 8",
    ]
    assert hardest(counts, list("abcd"))[1:] == ["  a: 3 of 8", "  b: 5 of 7", "  c: 7 of 7"]
    assert confusions(np.eye(3, dtype=np.int64), list("abc")) == ["No video was misclassified"]
