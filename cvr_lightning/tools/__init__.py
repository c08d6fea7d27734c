"""Tools beside training: prepare, inspect, pack, report, summarize."""
