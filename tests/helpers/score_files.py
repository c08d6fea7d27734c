"""Files of random scores over the same videos."""

import numpy as np

from cvr_lightning.evaluation.score_file import ScoreFile
from cvr_lightning.evaluation.video_table import softmax

CLASSES = ("a", "b", "c", "d", "e", "f")


def make_score_file(seed: int, videos: int = 40) -> ScoreFile:
    rng = np.random.default_rng(seed)
    label = np.arange(videos) % len(CLASSES)
    logits = rng.normal(size=(videos, len(CLASSES))).astype(np.float32)
    logits[np.arange(videos), label] += 1.0
    return ScoreFile(
        video=np.array([f"test/{i}.avi" for i in range(videos)], np.str_),
        label=label,
        views=np.ones(videos, np.int64),
        logits=logits,
        probabilities=softmax(logits),
        class_names=np.array(CLASSES, np.str_),
        unreadable=np.array(["test/broken.avi"], np.str_),
    )
