"""The model as plain ``torch.nn.Module``: no trainer, no file, no codec."""

from cvr_lightning.models.recognizer import PRESETS, CompressedVideoRecognizer, Part, Preset, Representation

__all__ = ["PRESETS", "CompressedVideoRecognizer", "Part", "Preset", "Representation"]
