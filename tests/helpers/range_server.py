"""A web server of files that knows ranges."""

from __future__ import annotations

import http.server
from pathlib import Path
from typing import ClassVar


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Serves ranges of files, as every store of objects does, and counts the bytes."""

    protocol_version = "HTTP/1.1"
    sent: ClassVar[list[int]] = []  # counted before it is sent, for who gets it may ask at once

    def do_GET(self) -> None:
        data = Path(self.translate_path(self.path)).read_bytes()
        span = self.headers.get("Range")
        first, last = (int(end) for end in span.removeprefix("bytes=").split("-")) if span else (0, len(data))
        body = data[first : last + 1]
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(data)}")
        self.end_headers()
        RangeHandler.sent.append(len(body))
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""
