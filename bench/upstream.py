"""An upstream for large bodies, in plain HTTP or TLS: ``python -m bench.upstream PORT [CERTIFICATE KEY]``.

Request bodies are compared with the expected bytes (200, or 400 if they differ); a GET for ``...bench-N...`` returns
N bytes. One thread per connection with blocking sockets, which is the fastest way to transfer bulk data in Python.
"""

import contextlib
import re
import socket
import ssl
import sys
import threading

from bench.bulk import HttpConnection, TransferError


def serve(sock: socket.socket, tls: ssl.SSLContext | None) -> None:
    """Answer the requests of one connection."""
    with contextlib.suppress(OSError), sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with tls.wrap_socket(sock, server_side=True) if tls else sock as stream:
            connection = HttpConnection(stream)
            while head := connection.read_head():
                try:
                    connection.read_body(head.headers)
                except TransferError as error:
                    connection.send_head("HTTP/1.1 400 Bad Request", "Content-Length: 0", f"X-Problem: {error}")
                    return
                wanted = re.search(r"bench-(\d+)", head.start) if head.start.startswith("GET ") else None
                size = int(wanted[1]) if wanted else 0
                content = "Content-Type: application/octet-stream"
                connection.send_head("HTTP/1.1 200 OK", content, f"Content-Length: {size}")
                connection.send_body(size)


def main(port: int, certificate: str = "", key: str = "") -> None:
    """Serve until terminated."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
    if tls:
        tls.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock, tls), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:4])
