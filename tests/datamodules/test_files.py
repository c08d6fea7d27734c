"""Videos by name: any container, any spelling of the class folder, one listing and no look at each file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cvr_lightning.datamodules.files import VideoFiles


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    "listed", ["a/clip.avi", "clip", "other/clip.mp4", "/somewhere/else/a/clip.mkv", "clip.AVI"]
)
def test_container_and_folders_of_the_list_do_not_matter(tmp_path, listed):
    assert VideoFiles(fill(tmp_path, "videos/a/clip.mp4"), "videos").find(listed) == "videos/a/clip.mp4"


@pytest.mark.parametrize("name", ["a[1]*?", "-_x0", "#20 &;!('b')", "with.dots.in", "übung", "x.mpeg4 test"])
def test_any_character_may_stand_in_a_name(tmp_path, name):
    files = VideoFiles(fill(tmp_path, f"a/{name}.avi", "a/a1xx.avi"))
    assert files.find(f"a/{name}.avi") == f"a/{name}.avi"
    assert files.find(name) == f"a/{name}.avi"


def test_case_counts_in_names_and_not_in_extensions(tmp_path):
    files = VideoFiles(fill(tmp_path, "abC.MP4", "ABc.avi"))
    assert (files.find("abC"), files.find("ABc"), files.find("abc")) == ("abC.MP4", "ABc.avi", None)


def test_prepared_containers_come_before_the_original(tmp_path):
    files = VideoFiles(fill(tmp_path, "7.webm", "7.mp4", "8.webm", "9.avi", "9.mp4", "9.webm"))
    assert [files.find(name) for name in "789"] == ["7.mp4", "8.webm", "9.mp4"]


@pytest.mark.parametrize(
    "folder", ["massaging person's head", "massaging_person's_head", "massaging_persons_head"]
)
def test_the_class_folder_tells_files_of_one_name_apart_however_it_is_spelled(tmp_path, folder):
    files = VideoFiles(fill(tmp_path, f"{folder}/x.mp4", "hurling_sport/x.mp4", "a/x.mp4"))
    assert files.find("massaging person's head/x") == f"{folder}/x.mp4"
    assert files.find("hurling (sport)/x") == "hurling_sport/x.mp4"


def test_hidden_files_other_files_and_deeper_folders_are_left_alone(tmp_path):
    files = VideoFiles(fill(tmp_path, ".a.mp4", ".trash/b.mp4", "c.txt", "d/e/f.mp4", "d/g.mp4.part"))
    assert [files.find(name) for name in (".a", "b", "c", "f", "g")] == [None] * 5


def test_links_to_files_and_folders_are_followed(tmp_path):
    fill(tmp_path / "disk", "class/a.mp4", "b.mp4")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "class").symlink_to(tmp_path / "disk" / "class")
    (tmp_path / "root" / "b.mp4").symlink_to(tmp_path / "disk" / "b.mp4")
    files = VideoFiles(tmp_path / "root")
    assert (files.find("a"), files.find("b")) == ("class/a.mp4", "b.mp4")


def test_no_file_is_looked_at_beyond_its_name(tmp_path, monkeypatch):
    fill(tmp_path, *(f"{kind}/{i}.mp4" for kind in "ab" for i in range(50)))
    listings, looks = [], []
    scandir, stat = os.scandir, os.stat

    def counted(path):
        listings.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    monkeypatch.setattr(os, "stat", lambda *args, **kwargs: looks.append(args) or stat(*args, **kwargs))
    assert VideoFiles(tmp_path).find("b/49") == "b/49.mp4"
    assert (len(listings), len(looks)) == (3, 0)
