"""A small HTTP server on this machine that behaves as GDC and GEO do, and misbehaves as networks do."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class PublicSource:
    """``files``: path → bytes. ``faults``: path → what goes wrong with its next answers, in order:

    ``cut`` (half of it comes), ``busy`` (503), ``whole`` (the range is ignored), ``wrong`` (a byte is changed),
    ``shifted`` (another range comes). ``asked`` lists (method, path, Range) of what was asked.
    """

    def __init__(self):
        self.files, self.answers, self.faults, self.asked = {}, {}, defaultdict(list), []
        self.tags = True
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                source.answer(self)

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                source.answer(self, body)

            def log_message(self, *args):
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *fault):
        self.server.shutdown()
        self.server.server_close()

    def of(self, path):
        return [wanted for _, asked, wanted in self.asked if asked == path]

    def answer(self, request, body=None):
        path = request.path
        self.asked.append((request.command, path, request.headers.get("Range")))
        fault = self.faults[path].pop(0) if self.faults[path] else ""
        data = self.answers[path](body) if path in self.answers else self.files.get(path)
        if fault == "busy":
            return self.send(request, 503, b"", {"Retry-After": "7"})
        if data is None:
            return self.send(request, 404, b"")
        if isinstance(data, int):
            return self.send(request, data, b"")
        return self.send_file(request, data, fault)

    def send_file(self, request, data, fault):
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        headers = {"ETag": tag} if self.tags else {}
        wanted, condition = request.headers.get("Range"), request.headers.get("If-Range", tag)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if fault == "wrong":
            data = bytes([data[0] ^ 1]) + data[1:]
        if not wanted or fault == "whole" or condition != tag:
            return self.send(request, 200, data, headers, cut=fault == "cut")
        if start >= len(data):
            return self.send(request, 416, b"", {"Content-Range": f"bytes */{len(data)}"})
        start += fault == "shifted"
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return self.send(request, 206, data[start:], headers, cut=fault == "cut")

    def send(self, request, status, data, headers=None, *, cut=False):
        request.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(data[: len(data) // 2] if cut else data)
        request.close_connection = True
