"""Fake hosts: an outgoing proxy that records and refuses, and a language model."""

import contextlib
import http.server
import json
import threading
from collections.abc import Generator
from typing import Self, cast


class _Host(http.server.ThreadingHTTPServer):
    daemon_threads = True
    handler: type[http.server.BaseHTTPRequestHandler]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Generator[Self]:
        with cls() as host:
            thread = threading.Thread(target=host.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield host
            finally:
                host.shutdown()
                thread.join()


class _SilentHandler(http.server.BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        pass


class _RefusingHandler(_SilentHandler):
    def do_CONNECT(self) -> None:
        cast("RecordingProxy", self.server).requested_hosts.append(self.path)
        self.send_error(403)


class RecordingProxy(_Host):
    """An HTTP proxy that refuses every CONNECT; `requested_hosts` are their hosts."""

    handler = _RefusingHandler

    def __init__(self) -> None:
        super().__init__()
        self.requested_hosts: list[str] = []


class _LanguageModelHandler(_SilentHandler):
    def do_POST(self) -> None:
        model = cast("LanguageModel", self.server)
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self._send("first word")
        model.go_on.wait(30)
        self._send("second word")
        self.wfile.write(b"data: [DONE]\n\n")

    def _send(self, word: str) -> None:
        choice = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())


class LanguageModel(_Host):
    """Streams two words in OpenAI's format; waits for `go_on` between them."""

    handler = _LanguageModelHandler

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
