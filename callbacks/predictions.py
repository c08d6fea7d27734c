"""predictions.csv: a label for every video of a prediction run."""

from __future__ import annotations

import csv
from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch import Callback

from cvr_lightning.datamodules import CompressedVideoDataModule
from cvr_lightning.files.atomic import atomic_path
from cvr_lightning.files.printable import counted, csv_text, shown
from cvr_lightning.training.module import RecognitionModule


class Predictions(Callback):
    """Writes ``predictions.csv`` (video, label, probability) into the run directory after ``cvr predict``."""

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write one row per video, averaged over its views."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, RecognitionModule)
        assert isinstance(data, CompressedVideoDataModule)
        if not trainer.is_global_zero or pl_module.table is None:
            return
        names = data.videos["test"].names
        table = pl_module.table
        label, probability = table.scores.argmax(axis=1), table.scores.max(axis=1)
        path = Path(trainer.default_root_dir) / "predictions.csv"
        with (
            atomic_path(path) as unfinished,
            # Names that are not UTF-8 keep their bytes, so that the file can be found.
            unfinished.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["video", "label", "probability"])
            rows = zip(table.video.tolist(), label.tolist(), probability.tolist(), strict=True)
            for video, index, probability in rows:
                name, label_name = csv_text(names[video], "./"), csv_text(pl_module.class_names[index])
                writer.writerow([name, label_name, f"{probability:.4f}"])
        # The progress bar has not ended its line.
        summary = f"{counted(len(table), 'video')} labeled in {path}, {len(table.unreadable)} unreadable"
        print(f"\n{shown(summary)}")
