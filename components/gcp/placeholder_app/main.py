"""A 404 page for the service `default`, which App Engine requires before any other service."""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer

PAGE = b"Nothing is here. MLflow is another service of this application.\n"


class Page(BaseHTTPRequestHandler):
    """Responds to each GET with 404."""

    def do_GET(self) -> None:
        """Send status 404 and one line of text."""
        self.send_response(404)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)


if __name__ == "__main__":
    HTTPServer(("", int(os.environ["PORT"])), Page).serve_forever()
