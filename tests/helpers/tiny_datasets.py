"""Tiny copies of the published data sets: their true folders, names and quirks over a few real clips."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from helpers.encoders import COARSE, encode

SIZE = (96, 80)
VP9 = {"deadline": "realtime", "cpu-used": "8", "crf": "50", "b": "0"}


@dataclass(frozen=True)
class Clips:
    """One scene in each form that data sets come in."""

    avi: Path
    mp4: Path
    webm: Path  # VP9: no motion vectors

    def put(self, path: Path) -> Path:
        """Lay the clip of the path's suffix there, a hard link where possible."""
        path.parent.mkdir(parents=True, exist_ok=True)
        source = getattr(self, path.suffix[1:])
        try:
            os.link(source, path)
        except OSError:
            shutil.copyfile(source, path)
        return path


def encode_clips(folder: Path) -> Clips:
    return Clips(
        avi=encode(folder / "clip.avi", SIZE, frames=14, options=COARSE),
        mp4=encode(folder / "clip.mp4", SIZE, frames=14, options=COARSE),
        webm=encode(folder / "clip.webm", SIZE, frames=14, codec="libvpx-vp9", options=VP9),
    )


def write_lines(file: Path, lines: Sequence[str], end: str = "\n") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes("".join(line + end for line in lines).encode())


def damage(path: Path) -> None:
    """Replace a video by bytes that are none; other links to it keep theirs."""
    path.unlink()
    path.write_bytes(b"\x00\x00\x00\x18ftypmp42, and then the download broke off")


UCF101_CLASSES = ("ApplyEyeMakeup", "Archery", "HandstandPushups")


def write_ucf101(root: Path, clips: Clips, suffix: str = ".avi") -> Path:
    """18 training videos in 3 groups of each class and 6 of test in split 1, of which one is missing.

    CRLF line ends; the videos of HandstandPushups are named HandStandPushups; all files in UCF-101.
    """
    lists = root / "ucfTrainTestlist"
    write_lines(lists / "classInd.txt", [f"{i} {name}" for i, name in enumerate(UCF101_CLASSES, 1)], "\r\n")
    for split in (1, 2, 3):
        test_group = split
        train, test = [], []
        for index, name in enumerate(UCF101_CLASSES, 1):
            spelled = name.replace("Handstand", "HandStand")
            for group in (1, 2, 3, 8):
                for clip in (1, 2):
                    path = f"{name}/v_{spelled}_g{group:02d}_c{clip:02d}.avi"
                    (test if group == test_group else train).append(
                        path if group == test_group else f"{path} {index}"
                    )
                    video = (root / "UCF-101" / path).with_suffix(suffix)
                    if path != "Archery/v_Archery_g01_c02.avi" and not video.exists():
                        clips.put(video)
        write_lines(lists / f"trainlist{split:02d}.txt", train, "\r\n")
        write_lines(lists / f"testlist{split:02d}.txt", test, "\r\n")
    return root


HMDB51_VIDEOS = {
    "brush_hair": [
        ("Brushing_Her_Hair__[_NEW_AUDIO_]_UPDATED!!!!_brush_hair_h_cm_np1_fr_goo_0", 1),
        ("Brushing_Her_Hair__[_NEW_AUDIO_]_UPDATED!!!!_brush_hair_h_cm_np1_le_goo_1", 1),
        ("Silky_Straight_Hair_Original_brush_hair_h_nm_np1_ba_goo_0", 1),
        ("red_head_brush_hair_u_cm_np1_fr_goo_1", 2),
        ("red_head_brush_hair_u_cm_np1_le_goo_2", 0),
    ],
    "clap": [
        ("#20_Rhythm_clap_u_nm_np1_fr_goo_0", 1),
        ("#20_Rhythm_clap_u_nm_np1_fr_goo_1", 1),
        ("Boom__Snap__Clap!_(Challenge)_clap_u_nm_np1_fr_med_1", 1),
        ("Standing_clap_f_cm_np1_fr_med_0", 2),
    ],
    "smile": [
        ("Show_Your_Smile_;-)_1_smile_h_nm_np1_fr_goo_0", 1),
        ("YouTube_smiles!_smile_h_cm_np1_fr_bad_25", 1),
        ("YouTube_smiles!_smile_h_nm_np1_fr_goo_10", 1),
        ("Me_smiling_smile_h_nm_np1_fr_goo_0", 2),
        ("A_&_B_smile_h_nm_np1_fr_goo_0", 2),
    ],
}


def write_hmdb51(root: Path, clips: Clips, suffix: str = ".avi") -> Path:
    """9 training and 4 test videos of 3 classes, one unused; each line of the lists ends with a blank."""
    for name, videos in HMDB51_VIDEOS.items():
        for split in (1, 2, 3):
            file = root / "testTrainMulti_7030_splits" / f"{name}_test_split{split}.txt"
            write_lines(file, [f"{video}.avi {use} " for video, use in videos])
        for video, _ in videos:
            clips.put(root / name / f"{video}{suffix}")
    return root


KINETICS_VIDEOS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "train": {
        "riding or walking with horse": ["--0edUL8zmA", "3kXQDsIgkSE"],
        "air drumming": ["-_dbcJuKJQN", "abC0123defg"],
        "massaging person's head": ["_aaaaaaaaaa", "-bbbbbbbbbb"],
        "hurling (sport)": ["hurling0000", "hurling0001"],
    },
    "val": {
        "air drumming": ["_dbcJuKJQNs", "abc0123DEFG"],
        "massaging person's head": ["-ccccccccc1", "-ccccccccc2"],
        "hurling (sport)": ["-ddddddddd1"],
        "riding or walking with horse": ["eeeeeeeeeee"],
    },
}
"""Ids of each class: two differ in case alone, several start with a hyphen. The file of abc0123DEFG is
damaged, that of -ccccccccc2 missing."""

KineticsLayout = Literal["blanks", "underscores", "torchvision", "flat"]
FOLDERS = {"blanks": "{}", "underscores": "videos_{}", "torchvision": "{}", "flat": "{}"}


def kinetics_file(video: str) -> str:
    return f"{video}_000040_000050"


def write_kinetics(root: Path, clips: Clips, layout: KineticsLayout = "torchvision") -> Path:
    """8 training and 6 validation videos of 4 classes, CSVs as published, and a test CSV without labels."""
    csvs: dict[str, list[str]] = {}
    for subset, classes in KINETICS_VIDEOS.items():
        csvs[subset] = ["label,youtube_id,time_start,time_end,split,is_cc"]
        for label, videos in classes.items():
            quoted = f'"{label}"' if " " in label else label
            csvs[subset] += [
                f"{quoted},{video},40,50,{'validate' if subset == 'val' else subset},0" for video in videos
            ]
            for video in set(videos) - {"-ccccccccc2"}:
                folder = root / FOLDERS[layout].format(subset) / kinetics_folder(label, layout)
                path = clips.put(folder / f"{kinetics_file(video)}.mp4")
                if video == "abc0123DEFG":
                    damage(path)
    csvs["test"] = ["youtube_id,time_start,time_end,split", "-test000000,0,10,test", "test0000001,7,17,test"]
    clips.put(root / FOLDERS[layout].format("test") / "-test000000_000000_000010.mp4")
    clips.put(root / FOLDERS[layout].format("test") / "test0000001_000007_000017.mp4")
    for subset, lines in csvs.items():
        name = "validate" if subset == "val" and layout == "blanks" else subset
        write_lines(root / "annotations" / f"{name}.csv", lines)
    return root


def kinetics_folder(label: str, layout: KineticsLayout) -> str:
    if layout == "flat":
        return ""
    if layout == "blanks":
        return label
    plain = label.replace(" ", "_")
    return plain if layout == "underscores" else plain.replace("'", "").replace("(", "").replace(")", "")


SSV2_LABELS = {
    "Moving something from right to left": "2",
    "Holding something next to something": "0",
    "Moving something from left to right": "1",
}
SSV2_VIDEOS: Mapping[str, Mapping[str, str]] = {
    "train": {
        "78687": "Holding [something] next to [something]",
        "42326": "Holding [something] next to [something]",
        "100904": "Moving [something] from left to right",
        "9": "Moving [something] from left to right",
        "172201": "Moving [something] from right to left",
        "61": "Moving [something] from right to left",
    },
    "validation": {
        "74225": "Holding [something] next to [something]",
        "116154": "Moving [something] from left to right",
        "198186": "Moving [something] from right to left",
        "220847": "Moving [something] from right to left",
    },
}
"""Templates by id; the file of 220847 is missing."""


def write_ssv2(root: Path, clips: Clips, suffix: str = ".mp4", names: Literal["old", "new"] = "old") -> Path:
    """6 training, 4 validation and 2 test videos; as downloaded with ``suffix`` .webm, otherwise prepared."""
    prefix = "something-something-v2-" if names == "old" else ""
    folder = root / ("annotations" if names == "old" else "labels")
    contents: dict[str, object] = {"labels": SSV2_LABELS, "test": [{"id": "1420"}, {"id": "1421"}]}
    for subset, videos in SSV2_VIDEOS.items():
        contents[subset] = [
            {"id": video, "label": template.lower().replace("[something]", "a cup"), "template": template}
            for video, template in videos.items()
        ]
    folder.mkdir(parents=True)
    for subset, content in contents.items():
        (folder / f"{prefix}{subset}.json").write_text(json.dumps(content))
    for video in [*SSV2_VIDEOS["train"], *SSV2_VIDEOS["validation"], "1420", "1421"]:
        if video != "220847":
            clips.put(root / "20bn-something-something-v2" / f"{video}{suffix}")
    return root
