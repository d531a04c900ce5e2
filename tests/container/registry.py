"""A registry that serves one image for several platforms, as the tag of an official image does.

Read-only, from the paths and media types of the OCI specifications (distribution-spec 1.1 "pull", image-spec 1.1).
"""

import contextlib
import hashlib
import http.server
import json
import re
import shutil
import tarfile
import threading
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

from tests.container.engine import Engine

_IMAGE = "application/vnd.oci.image."
_TAG = "latest"


@contextlib.contextmanager
def multi_platform(engine: Engine, images: Iterable[str], folder: Path) -> Generator[str]:
    """The name of an image that is each of `images` on its platform. `folder` gets the layers."""
    entries: list[dict[str, Any]] = []
    manifests: dict[str, bytes] = {}
    for image in images:
        config, layers = _saved(engine, image, folder)
        described = json.loads(config.read_bytes())
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": f"{_IMAGE}manifest.v1+json",
                "config": _descriptor(config, "config.v1+json"),
                "layers": [_descriptor(layer, "layer.v1.tar") for layer in layers],
            }
        ).encode()
        digest = _digest(manifest)
        manifests[digest] = manifest
        entries.append(
            {
                "mediaType": f"{_IMAGE}manifest.v1+json",
                "digest": digest,
                "size": len(manifest),
                "platform": {name: described[name] for name in ("architecture", "os")},
            }
        )
    index = json.dumps({"schemaVersion": 2, "mediaType": f"{_IMAGE}index.v1+json", "manifests": entries}).encode()
    manifests |= {_TAG: index, _digest(index): index}
    with _serving(manifests, folder) as port:
        yield f"127.0.0.1:{port}/base:{_TAG}"


def _saved(engine: Engine, image: str, folder: Path) -> tuple[Path, list[Path]]:
    """The configuration and the layers of an image, as files in `folder` that are named by their digest."""
    archive = folder / "saved.tar"
    engine.run("save", "--output", str(archive), image, timeout=120)
    with tarfile.open(archive) as tar:

        def extracted(name: str) -> Path:
            tar.extract(name, folder, filter="data")
            with (folder / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            return (folder / name).rename(folder / digest)

        described = tar.extractfile("manifest.json")
        assert described
        [parts] = json.load(described)
        found = extracted(parts["Config"]), [extracted(layer) for layer in parts["Layers"]]
    archive.unlink()
    return found


def _descriptor(file: Path, media_type: str) -> dict[str, Any]:
    return {"mediaType": f"{_IMAGE}{media_type}", "digest": f"sha256:{file.name}", "size": file.stat().st_size}


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def _serving(manifests: dict[str, bytes], folder: Path) -> Generator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/v2/":
                self._answer("application/json", 2)
                self._write(b"{}")
            elif (manifest := manifests.get(self.path.removeprefix("/v2/base/manifests/"))) is not None:
                self._answer(json.loads(manifest)["mediaType"], len(manifest), _digest(manifest))
                self._write(manifest)
            elif (found := re.fullmatch(r"/v2/base/blobs/sha256:([0-9a-f]{64})", self.path)) and (
                blob := folder / found[1]
            ).exists():
                self._answer("application/octet-stream", blob.stat().st_size, f"sha256:{found[1]}")
                if self.command == "GET":
                    with blob.open("rb") as file:
                        shutil.copyfileobj(file, self.wfile)
            else:
                self.send_error(404)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _answer(self, media_type: str, length: int, digest: str | None = None) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(length))
            if digest:
                self.send_header("Docker-Content-Digest", digest)
            self.end_headers()

        def _write(self, content: bytes) -> None:
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
