"""An upstream for large bodies, in plain HTTP or TLS: ``python -m bench.upstream PORT [CERTIFICATE KEY]``.

A body is compared with what was sent and thrown away (200, or 400 for other bytes); a GET for ``...bench-N...`` gives
N bytes. One thread a connection with blocking sockets: in Python nothing is faster for bulk, TLS least of all.
"""

import contextlib
import re
import socket
import ssl
import sys
import threading

from bench.bulk import Broken, Wire


def serve(sock: socket.socket, tls: ssl.SSLContext | None) -> None:
    """Answer the requests of one connection."""
    with contextlib.suppress(OSError), sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with tls.wrap_socket(sock, server_side=True) if tls else sock as stream:
            wire = Wire(stream)
            while head := wire.read_head():
                try:
                    wire.read_body(head.headers)
                except Broken as error:
                    wire.send_head("HTTP/1.1 400 Bad Request", "Content-Length: 0", f"X-Problem: {error}")
                    return
                wanted = re.search(r"bench-(\d+)", head.start) if head.start.startswith("GET ") else None
                size = int(wanted[1]) if wanted else 0
                content = "Content-Type: application/octet-stream"
                wire.send_head("HTTP/1.1 200 OK", content, f"Content-Length: {size}")
                wire.send_body(size)


def main(port: int, certificate: str = "", key: str = "") -> None:
    """Serve until ended."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
    if tls:
        tls.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock, tls), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:4])
