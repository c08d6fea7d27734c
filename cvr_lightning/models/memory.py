"""What a process does with memory that is freed."""

from __future__ import annotations

import functools

import torch

_LARGEST_THRESHOLD = 2**25
"""Bytes from which glibc gives every freed block back to the system: mallopt(3), M_MMAP_THRESHOLD."""


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep some 64 MiB of freed memory for the next layer.

    It learns what to keep from the blocks that are freed. By default the activations of a layer are given
    back, and fetched for the next layer anew, which the system clears first: thousands of pages for a video
    that is labelled by itself (tests/test_memory.py counts them). A block is freed that is as large as it
    learns from; it is never touched, so it costs nothing. Other allocators are not impressed.
    """
    header = 2**12  # room for the allocator's own
    torch.empty(_LARGEST_THRESHOLD - header, dtype=torch.uint8, device="cpu")
