"""Activity of the spiking layers: rates, sparsity, dead and saturated neurons; rasters and maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cvr_lightning.callbacks.loggers import (
    PictureCallback,
    array,
    experiments,
    fixed_rows,
    log_figure,
    log_scalars,
)
from cvr_lightning.clip import CompressedClip
from cvr_lightning.models.neurons import AdaptiveLIF
from cvr_lightning.plots.spikes import ClipSpikes, distinct_names, draw_spike_maps, draw_spike_raster


class SpikeSparsity(PictureCallback):
    """Monitors the spikes of every spiking layer, every n-th step and on fixed validation clips.

    Logs every ``every_n_steps`` training steps, from the first process's batch:

    - ``vitals/spikes/activation_sparsity``: NeuroBench's definition: fraction of zeros in all neuron outputs,
      over layers, sub-steps and samples (missing P-frames count as zeros).
    - ``vitals/spikes/<layer>/rate``: spikes per neuron and sub-step, and its complement
      ``vitals/spikes/<layer>/activation_sparsity``.
    - ``vitals/spikes/<layer>/per_neuron``: rate times sub-steps, the spikes per neuron and window.
    - ``vitals/spikes/<layer>/dead`` and ``vitals/spikes/<layer>/saturated``: fraction of channels that
      never fire in the batch, and of channels whose rate is at least ``saturated``.
    - ``vitals/spikes/<layer>/rate_by_channel``: histogram of the channels' rates.

    Logs after the 1st, 2nd, 4th, 8th ... validation and the last, for each fixed clip:

    - ``vitals/spikes/raster_<clip>``: fraction of positions that spike, time by channel, for every layer.
    - ``vitals/spikes/map_<clip>``: spikes per neuron and step by position, for every layer and segment.

    Layers are named by the distinct component of their names, such as ``modulator1``. Scalars work with any
    logger, histograms and images with those that have ``add_histogram`` and ``add_figure``.

    Args:
        every_n_steps: Training steps between samples.
        clips: Number of fixed validation clips.
        saturated: Rate from which a channel counts as saturated.

    Raises:
        ValueError: An option is out of range.
    """

    def __init__(self, every_n_steps: int = 50, clips: int = 1, saturated: float = 0.95) -> None:
        super().__init__()
        if every_n_steps < 1 or clips < 0 or not 0 < saturated <= 1:
            raise ValueError(
                f"every_n_steps={every_n_steps} must be at least 1, clips={clips} not negative, "
                f"saturated={saturated} a rate above 0 and at most 1"
            )
        self.every_n_steps = every_n_steps
        self.clips = clips
        self.saturated = saturated
        self._step = -1
        self._spikes: dict[str, Tensor] = {}
        self._levels: dict[str, int] = {}
        self._handles: list[RemovableHandle] = []
        self._fixed: dict[int, ClipSpikes] = {}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: CompressedClip, batch_idx: int
    ) -> None:
        """Hook the layers if this step is sampled."""
        is_new, self._step = trainer.global_step != self._step, trainer.global_step
        is_sampled = is_new and (self._step + 1) % self.every_n_steps == 0
        if trainer.is_global_zero and is_sampled and len(batch):
            self._watch(pl_module)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: CompressedClip,
        batch_idx: int,
    ) -> None:
        """Log the recorded spikes."""
        if not self._handles:
            return
        layers = self._seen()
        scalars = spike_scalars(layers, self.saturated, self._levels)
        log_scalars(trainer, {f"vitals/spikes/{name}": value for name, value in scalars.items()}, self._step)
        for experiment in experiments(trainer, "add_histogram"):
            for name, spikes in layers.items():
                rates = rate_by_channel(spikes).cpu()
                experiment.add_histogram(
                    f"vitals/spikes/{name}/rate_by_channel", rates, global_step=self._step
                )

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: CompressedClip,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hook the layers if the batch has a fixed clip."""
        if trainer.is_global_zero and fixed_rows(trainer, batch, batch_idx, self.clips):
            self._watch(pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: CompressedClip,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the spikes of the fixed clips."""
        if not self._handles:
            return
        layers = self._seen()
        for number, row in fixed_rows(trainer, batch, batch_idx, self.clips):
            self._fixed[number] = _clip_spikes(layers, batch, row)

    def draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the rasters and maps of the fixed clips."""
        names: Sequence[str] = trainer.datamodule.names["val"]  # type: ignore[attr-defined]
        for number, spikes in sorted(self._fixed.items()):
            title = names[spikes.video]
            log_figure(trainer, f"vitals/spikes/raster_{number}", draw_spike_raster(spikes, title))
            log_figure(trainer, f"vitals/spikes/map_{number}", draw_spike_maps(spikes, title))

    def _watch(self, pl_module: LightningModule) -> None:
        layers = {name: layer for name, layer in pl_module.named_modules() if isinstance(layer, AdaptiveLIF)}
        for name, layer in zip(distinct_names(list(layers)), layers.values(), strict=True):
            self._levels[name] = layer.levels
            self._handles.append(layer.register_forward_hook(self._hook(name, layer.levels)))

    def _hook(self, name: str, levels: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            self._spikes[name] = output[0].detach() / levels

        return hook

    def _seen(self) -> dict[str, Tensor]:
        """Remove the hooks and return each layer's spikes per sub-step (T, M, C, H, W)."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        seen, self._spikes = self._spikes, {}
        return seen


def rate_by_channel(spikes_TMCHW: Tensor) -> Tensor:
    """Spikes per neuron and sub-step by channel (C,), float32."""
    return spikes_TMCHW.mean(dim=(0, 1, 3, 4), dtype=torch.float32)


def spike_scalars(layers: dict[str, Tensor], saturated: float, levels: Mapping[str, int]) -> dict[str, float]:
    """Scalars of :class:`SpikeSparsity`, without their prefix.

    Args:
        layers: Spikes per sub-step (T, M, C, H, W) of each layer.
        saturated: Rate from which a channel counts as saturated.
        levels: Sub-steps per step of each layer.
    """
    scalars = {}
    outputs, fired = 0, 0.0
    for name, spikes_TMCHW in layers.items():
        rates_C = rate_by_channel(spikes_TMCHW).cpu()
        rate = float(rates_C.mean())
        outputs += spikes_TMCHW.numel()
        fired += rate * spikes_TMCHW.numel()
        scalars[f"{name}/rate"] = rate
        scalars[f"{name}/activation_sparsity"] = 1 - rate
        scalars[f"{name}/per_neuron"] = rate * levels[name] * spikes_TMCHW.shape[0]
        scalars[f"{name}/dead"] = float((rates_C == 0).float().mean())
        scalars[f"{name}/saturated"] = float((rates_C >= saturated).float().mean())
    return {"activation_sparsity": 1 - fired / outputs, **scalars} if outputs else scalars


def _clip_spikes(layers: dict[str, Tensor], batch: CompressedClip, row: int) -> ClipSpikes:
    """Means of one clip's spikes over positions and over channels, as NumPy arrays for plots."""
    segments = batch.mask.shape[1]
    own = {
        name: spikes_TMCHW[:, row * segments : (row + 1) * segments].float()
        for name, spikes_TMCHW in layers.items()
    }
    frames = batch.iframes[row][batch.iframe_index[row]]
    return ClipSpikes(
        video=int(batch.video[row]),
        iframes=array(frames.clamp(0, 255).to(torch.uint8)),
        exists=array(batch.mask[row]),
        raster={name: array(s.mean(dim=(3, 4)).transpose(0, 1)) for name, s in own.items()},
        maps={name: array(s.mean(dim=(0, 2))) for name, s in own.items()},
    )
