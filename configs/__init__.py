"""Bundled configurations."""
