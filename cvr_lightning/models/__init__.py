"""The model as plain ``torch.nn.Module``: no trainer, no file, no codec."""

from cvr_lightning.models.presets import PRESETS, Preset
from cvr_lightning.models.recognizer import CompressedVideoRecognizer, Part, Representation

__all__ = ["PRESETS", "CompressedVideoRecognizer", "Part", "Preset", "Representation"]
