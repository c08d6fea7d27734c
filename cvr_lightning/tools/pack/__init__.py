"""Packs videos into tar shards, for storage that is slow with small files.

webdataset can read the shards. They hold three members per video: ``000000042.json`` (name, label, class),
``000000042.packets`` (the packet index) and ``000000042.mp4`` (the file). ``index.json`` beside them stores
the offset of each video, so that one read fetches any video.
"""
