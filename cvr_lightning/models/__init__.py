"""The model as plain ``torch.nn.Module`` without trainer, files or codec."""

from cvr_lightning.models.dual_encoder import Ablation, Representation
from cvr_lightning.models.presets import PRESETS, Preset
from cvr_lightning.models.recognizer import CompressedVideoRecognizer

__all__ = ["PRESETS", "Ablation", "CompressedVideoRecognizer", "Preset", "Representation"]
