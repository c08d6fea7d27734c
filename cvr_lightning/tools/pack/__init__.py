"""Videos in tar files: a few large files where a file system or an object store is slow with many small ones.

A folder of tar files as webdataset reads them, three members a video: what is known of it as
``000000042.json`` (name, label, class), its packet index as ``000000042.packets``, its bytes as
``000000042.mp4``. Beside them lies ``index.json``, which says where each of them begins, so that any video is
one read away.
"""
