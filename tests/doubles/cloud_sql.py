"""A fake of a Cloud SQL instance: the Cloud SQL Admin API as connectors use it, and the proxy at its port 3307.

The API, from its definition (google/cloud/sql/v1beta4/cloud_sql_connect.proto):
https://cloud.google.com/sql/docs/mysql/admin-api/rest/v1beta4/connect/get and .../connect/generateEphemeralCert.
Messages of errors as users report them (GoogleCloudPlatform/cloud-sql-proxy, its issues).

The proxy admits TLS clients with an unexpired certificate of the instance's CA, and relays to a real MySQL without TLS.
For IAM database authentication (https://cloud.google.com/sql/docs/mysql/iam-authentication) the certificate has an
access token, and the login is that of MySQL's plugin mysql_clear_password, which the community edition of MySQL has on
the client's side only: here, the proxy does the server's part of it, then logs in to MySQL itself.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import http.server
import json
import random
import re
import secrets
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import pymysql
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from pymysql.constants import CLIENT

from tests.doubles.mysql import Database, MySql
from tests.doubles.secret_manager import ACCOUNT, CLOUD_PLATFORM, PROJECT, SecretManager

REGION, NAME = "europe-west1", "mlflow"
CONNECTION_NAME = f"{PROJECT}:{REGION}:{NAME}"
_PORT = 3307
_ADMIN = "https://www.googleapis.com/auth/sqlservice.admin"
_LOGIN = "https://www.googleapis.com/auth/sqlservice.login"
_PATH = re.compile(r"/sql/v1beta4/projects/([^/]+)/instances/([^/:]+)(/connectSettings|:generateEphemeralCert)")
# JSON accepts the names of the definition and those in camel case.
_FIELDS = {"public_key", "publicKey", "access_token", "accessToken", "valid_duration", "validDuration"}
_CONSOLE = "https://console.developers.google.com/apis/api/sqladmin.googleapis.com/overview?project=418103912031"
FAULTS = {
    "disabled": (
        403,
        "Cloud SQL Admin API has not been used in project 418103912031 before or it is disabled. Enable it by visiting "
        f"{_CONSOLE} then retry. If you enabled this API recently, wait a few minutes for the action to propagate to "
        "our systems and retry.",
    ),
    "no role": (
        403,
        "boss::NOT_AUTHORIZED: Not authorized to access resource. Possibly missing permission "
        f"cloudsql.instances.connect on resource instances/{NAME}.",
    ),
    "outage": (503, "The service is currently unavailable."),
}


@dataclasses.dataclass
class Certificate:
    """A certificate that the API has issued; `login` says whether it carries an access token for IAM login."""

    expires: datetime.datetime
    login: bool


class CloudSql:
    """`url` is that of the API. `addresses` maps its types of address to loopback addresses.

    Certificates last `lifetime` seconds. `fault` is a key of FAULTS, or empty. `iam_users` maps names of database users
    to MySQL's own users. `issued` maps serial numbers to certificates, `used` has that of each connection.
    """

    def __init__(self, mysql: MySql, accounts: SecretManager, folder: Path) -> None:
        self.url = ""
        self.mysql = mysql
        self.accounts = accounts
        self.lifetime = 3600.0
        self.fault = ""
        self.iam_users: dict[str, Database] = {}
        self.issued: dict[int, Certificate] = {}
        self.used: list[int] = []
        self.listeners = {kind: _listener() for kind in ("PRIMARY", "PRIVATE")}
        self.addresses = {kind: str(listener.getsockname()[0]) for kind, listener in self.listeners.items()}
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._ca = self._sign(self._key.public_key(), datetime.timedelta(days=3650), ca=True)
        self.ca_pem = self._ca.public_bytes(serialization.Encoding.PEM).decode()
        self.context = self._server_context(folder)

    def issue(self, public_key: rsa.RSAPublicKey, *, login: bool) -> str:
        """A client's certificate as PEM."""
        certificate = self._sign(public_key, datetime.timedelta(seconds=self.lifetime))
        self.issued[certificate.serial_number] = Certificate(certificate.not_valid_after_utc, login)
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def _sign(self, key: rsa.RSAPublicKey, lifetime: datetime.timedelta, *, ca: bool = False) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        issuer = _name(f"Google Cloud SQL Server CA of {PROJECT}:{NAME}")
        return (
            x509.CertificateBuilder()
            .subject_name(issuer if ca else _name(f"{PROJECT}:{NAME}"))
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + lifetime)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _server_context(self, folder: Path) -> ssl.SSLContext:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        certificate = self._sign(key.public_key(), datetime.timedelta(days=365))
        file = folder / "server.pem"
        file.touch(mode=0o600)
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.ca_pem)
        return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _listener() -> socket.socket:
    """A socket on the proxy's port of a loopback address of its own, since each instance has that port."""
    while True:
        listener = socket.socket()
        try:
            listener.bind((f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(2, 254)}", _PORT))
        except OSError:
            listener.close()
        else:
            return listener


class _Api(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, instance: CloudSql) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.instance = instance


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._respond("GET")

    def do_POST(self) -> None:
        self._respond("POST")

    def _respond(self, method: str) -> None:
        instance = cast("_Api", self.server).instance
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        scopes = instance.accounts.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "), [])
        found = _PATH.fullmatch(urlsplit(self.path).path)
        if not {_ADMIN, CLOUD_PLATFORM} & set(scopes):
            self._error(401, "Request had invalid authentication credentials.")
        elif instance.fault:
            # A connector requests both at once. The settings' error arrives within that of the certificate.
            code, message = FAULTS[instance.fault]
            time.sleep(0.1 if method == "GET" else 0)
            self._error(code, message, delay=0.3 if method == "POST" else 0)
        elif not found or method != ("GET" if found[3].startswith("/") else "POST"):
            self._error(404, "Not found.")
        elif found[1] != PROJECT:
            self._error(403, FAULTS["no role"][1])
        elif found[2] != NAME:
            self._error(404, "The Cloud SQL instance does not exist.")
        elif method == "GET":
            self._answer(200, _connect_settings(instance))
        else:
            self._certificate(instance, body)

    def _certificate(self, instance: CloudSql, body: bytes) -> None:
        request: dict[str, Any] = json.loads(body)
        if unknown := request.keys() - _FIELDS:
            self._error(400, f'Invalid JSON payload received. Unknown name "{unknown.pop()}": Cannot find field.')
            return
        token = request.get("access_token", request.get("accessToken"))
        if token is not None and instance.accounts.tokens.get(token) != [_LOGIN]:
            self._error(400, "Invalid access token.")
            return
        key = serialization.load_pem_public_key(request.get("public_key", request.get("publicKey", "")).encode())
        assert isinstance(key, rsa.RSAPublicKey)
        pem = instance.issue(key, login=token is not None)
        self._answer(200, {"ephemeralCert": {"kind": "sql#sslCert", "cert": pem, "instance": NAME}})

    def _error(self, code: int, message: str, delay: float = 0) -> None:
        self._answer(code, {"error": {"code": code, "message": message}}, delay)

    def _answer(self, code: int, content: object, delay: float = 0) -> None:
        """`delay` is the time between the headers and the body, in seconds."""
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        time.sleep(delay)
        # A client may cancel its request.
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        pass


def _connect_settings(instance: CloudSql) -> dict[str, Any]:
    return {
        "kind": "sql#connectSettings",
        "serverCaCert": {"kind": "sql#sslCert", "cert": instance.ca_pem, "instance": NAME},
        "ipAddresses": [{"type": kind, "ipAddress": address} for kind, address in instance.addresses.items()],
        "region": REGION,
        "databaseVersion": "MYSQL_8_4",
        "backendType": "SECOND_GEN",
        "serverCaMode": "GOOGLE_MANAGED_INTERNAL_CA",
        "connectionName": CONNECTION_NAME,
    }


class _Reader(Protocol):
    async def read(self, n: int) -> bytes: ...


class _Proxy:
    """The server's end of the connections, in an event loop of its own."""

    def __init__(self, instance: CloudSql) -> None:
        self._instance = instance
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, started: threading.Event, stopped: asyncio.Event) -> None:
        servers = [
            await asyncio.start_server(self._relay, sock=listener, ssl=self._instance.context)
            for listener in self._instance.listeners.values()
        ]
        started.set()
        await stopped.wait()
        for server in servers:
            server.close()
        for task in self._tasks:
            task.cancel()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        serial = int(writer.get_extra_info("peercert")["serialNumber"], 16)
        self._instance.used.append(serial)
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self._instance.issued[serial].login:
                upstream = await self._log_in(reader, writer)
                if upstream is None:
                    return
                from_mysql, to_mysql = await asyncio.open_connection(sock=upstream)
            else:
                from_mysql, to_mysql = await asyncio.open_connection("127.0.0.1", self._instance.mysql.port)
            with contextlib.closing(to_mysql):
                pipes = [asyncio.create_task(_pipe(*ends)) for ends in ((reader, to_mysql), (from_mysql, writer))]
                await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
                for pipe in pipes:
                    pipe.cancel()

    async def _log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> socket.socket | None:
        """IAM login: the socket of a session of MySQL's own user; None if the login is refused.

        https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
        """
        capabilities = CLIENT.CAPABILITIES | CLIENT.PLUGIN_AUTH | CLIENT.CONNECT_WITH_DB
        capabilities &= ~(CLIENT.SSL | CLIENT.PLUGIN_AUTH_LENENC_CLIENT_DATA | CLIENT.CONNECT_ATTRS)
        salt = bytes(secrets.choice(range(1, 128)) for _ in range(20))
        greeting = b"\x0a8.4.6-google\0" + struct.pack("<I", 1) + salt[:8] + b"\0"
        greeting += struct.pack("<HBHHB10x", capabilities & 0xFFFF, 255, 2, capabilities >> 16, 21)
        _send(writer, 0, greeting + salt[8:] + b"\0caching_sha2_password\0")
        response = await _receive(reader)
        user, _, rest = response[32:].partition(b"\0")
        database = rest[1 + rest[0] :].partition(b"\0")[0]
        _send(writer, 2, b"\xfemysql_clear_password\0")
        password = await _receive(reader)
        own = self._instance.iam_users.get(user.decode())
        if password != b"\0" or own is None or user.decode() != ACCOUNT.partition("@")[0]:
            _send(writer, 4, b"\xff" + struct.pack("<H", 1045) + b"#28000Access denied for user '" + user + b"'@'%'")
            await writer.drain()
            return None
        options: dict[str, Any] = {"database": database.decode(), "user": own.user, "password": own.password}
        options |= {"host": "127.0.0.1", "port": self._instance.mysql.port, "charset": "utf8mb4", "ssl_disabled": True}
        connection: Any = await asyncio.to_thread(pymysql.connect, **options)
        _send(writer, 4, b"\0\0\0\x02\0\0\0")
        return connection._sock.dup()


def _send(writer: asyncio.StreamWriter, number: int, payload: bytes) -> None:
    writer.write(struct.pack("<I", len(payload))[:3] + bytes([number]) + payload)


async def _receive(reader: asyncio.StreamReader) -> bytes:
    header = await reader.readexactly(4)
    return await reader.readexactly(int.from_bytes(header[:3], "little"))


async def _pipe(reader: _Reader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


@contextlib.contextmanager
def running(mysql: MySql, accounts: SecretManager) -> Generator[CloudSql]:
    """The instance with its API, in threads. `accounts` issues the access tokens."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        instance = CloudSql(mysql, accounts, Path(folder))
        api = stack.enter_context(_Api(instance))
        thread = threading.Thread(target=api.serve_forever, args=(0.02,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(api.shutdown)
        instance.url = f"http://127.0.0.1:{api.server_port}"
        started, loop = threading.Event(), asyncio.new_event_loop()
        stopped = asyncio.Event()
        proxy = threading.Thread(target=loop.run_until_complete, args=(_Proxy(instance).serve(started, stopped),))
        proxy.start()
        stack.callback(loop.close)
        stack.callback(proxy.join)
        stack.callback(loop.call_soon_threadsafe, stopped.set)
        assert started.wait(10)
        yield instance
