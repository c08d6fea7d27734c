"""The model as plain ``torch.nn.Module``: no trainer, no file, no codec."""

from cvr_lightning.models.presets import PRESETS, Preset
from cvr_lightning.models.recognizer import Ablation, CompressedVideoRecognizer, Representation

__all__ = ["PRESETS", "Ablation", "CompressedVideoRecognizer", "Preset", "Representation"]
