"""What is found in a folder."""

import os
from pathlib import Path

import pytest

from cvr_lightning.errors import PrepareError
from cvr_lightning.tools.prepare.tree import ArrayJob, read_tree


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_videos_lists_and_others_are_told_apart_and_sorted(tmp_path: Path) -> None:
    fill(tmp_path, "b/2.WEBM", "b/10.avi", "a.mp4", "lists/train.txt", "labels.json", "x.CSV")
    fill(tmp_path, ".hidden.mp4", ".cache/c.mp4", "b/._2.avi", "thumbs.db", "readme.md")
    tree = read_tree(tmp_path)
    assert tree.videos == ("a.mp4", "b/10.avi", "b/2.WEBM")
    assert tree.annotations == ("labels.json", "lists/train.txt", "x.CSV")
    assert str(tree.left_out) == (
        "left out of the root: 1 hidden (.hidden.mp4), 2 without a video suffix (readme.md); "
        "of b: 1 hidden (._2.avi)"
    )


def test_links_are_followed_but_never_in_a_circle(tmp_path: Path) -> None:
    fill(tmp_path / "src", "a/1.mp4")
    fill(tmp_path / "elsewhere", "2.mp4")
    (tmp_path / "src" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "src" / "a" / "up").symlink_to(tmp_path / "src")
    (tmp_path / "elsewhere" / "self").symlink_to(".")
    assert read_tree(tmp_path / "src").videos == ("a/1.mp4", "linked/2.mp4")


def test_a_link_that_leads_nowhere_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert read_tree(tmp_path).videos == ("gone.mp4",)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/x.avi", "a/x.mp4"], r"a/x\.avi and a/x\.mp4 would both become a/x\.mp4"),
        (["notes.txt"], "no videos in it"),
    ],
)
def test_what_cannot_be_prepared_is_refused_and_named(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(PrepareError, match=message):
        read_tree(fill(tmp_path, *names))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match="no such folder"):
        read_tree(tmp_path / "nowhere")


def test_a_circle_of_links_and_a_pipe_stop_nothing(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.wmv")
    (tmp_path / "a" / "x.mp4").symlink_to("y.mp4")
    (tmp_path / "a" / "y.mp4").symlink_to("x.mp4")
    os.mkfifo(tmp_path / "pipe.avi")
    tree = read_tree(tmp_path)
    assert tree.videos == ("a/1.wmv", "a/x.mp4", "a/y.mp4")  # reading the links names them
    assert str(tree.left_out) == "left out of the root: 1 not regular (pipe.avi)"


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_jobs_share_the_names_without_overlap(count: int) -> None:
    names = tuple(map(str, range(7)))
    shares = [ArrayJob(number, count).of(names) for number in range(1, count + 1)]
    assert sorted(name for share in shares for name in share) == sorted(names)
