"""Real clips, in the folder that the environment variable ``CVR_TEST_CLIPS`` names."""

from __future__ import annotations

import os
from pathlib import Path

REAL_CLIPS = Path(os.environ.get("CVR_TEST_CLIPS", "no-real-clips"))
"""The folder; tests that need a file of it skip, by name, where it is absent."""
HOCKEY = REAL_CLIPS / "hockey"
