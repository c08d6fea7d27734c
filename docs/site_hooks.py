"""MkDocs sees the repository as it is: pages link to each other as files do, and broken links are found."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = (
    "*.md",
    "CITATION.cff",
    "cvr_lightning/models/README.md",
    "configs/**/*.yaml",
    "docs/**/*.md",
    "docs/**/*.png",
    "docs/**/*.svg",
)
"""What becomes a page of the site, or a file beside its pages."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the dated reports of measurements, newest first: each new one is a page without being named."""
    reports = sorted(ROOT.glob("docs/benchmarks/*.md"), reverse=True)
    assert config.nav is not None
    config.nav.append({"Measurements": [report.relative_to(ROOT).as_posix() for report in reports]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take the published files by their place in the repository, beside those of the theme."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    paths = sorted({path for pattern in PUBLISHED for path in ROOT.glob(pattern)})
    own = [
        File(path.relative_to(ROOT).as_posix(), str(ROOT), config.site_dir, config.use_directory_urls)
        for path in paths
    ]
    return Files([*theme, *own])
