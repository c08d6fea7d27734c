"""Memory that a layer frees is there for the next one."""

import platform
import subprocess
import sys

import pytest

PASSES = """
import resource
import torch
from cvr_lightning.datamodules.sampling import ClipSampling
from cvr_lightning.inference.export import WindowModel, random_inputs
from cvr_lightning.inference.memory import keep_freed_memory
from cvr_lightning.models import CompressedVideoRecognizer

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_freed_memory()
sampling = ClipSampling(segments=8, pframes=3, crop=160)
model = WindowModel(CompressedVideoRecognizer(101, "small", sampling.residual_channels).eval())
inputs = random_inputs(sampling, clips=1)
with torch.inference_mode():
    for _ in range(4):
        before = faults()
        model(*inputs)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc's")
def test_a_second_pass_allocates_no_memory_from_the_system() -> None:
    """Six thousand pages of 4 KiB otherwise, in each pass."""
    run = subprocess.run([sys.executable, "-c", PASSES], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 500
