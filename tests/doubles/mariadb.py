"""A real MariaDB server (Debian's mariadb-server) in a folder of its own, on a socket and on loopback."""

import contextlib
import dataclasses
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pymysql
import pytest

_DAEMON = "mariadbd"
# Debian keeps daemons where not everyone's PATH looks.
_PATH = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
_PATIENCE = 60.0
_ROOM = 1 << 30
INSTANCE = "team-ml:europe-west1:mlflow"


def require_mariadb() -> None:
    """Skip the test where there is none."""
    if shutil.which(_DAEMON, path=_PATH) is None:
        pytest.skip("needs MariaDB: apt-get install mariadb-server")


@dataclasses.dataclass(frozen=True, slots=True)
class Database:
    """An empty database, and a user of its own with a password."""

    name: str
    user: str
    password: str


class MariaDb:
    """The server. `socket` and `port` stay the same over restarts."""

    def __init__(self, folder: Path) -> None:
        # As App Engine names it. Alone in its folder, which a container can mount: the socket is another one after a
        # restart. Its path may have no more than 107 bytes.
        self.socket = folder / "cloudsql" / INSTANCE
        self.socket.parent.mkdir()
        self._data = folder / "data"
        self._log = folder / "log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0
        _run("mariadb-install-db", f"--datadir={self._data}", "--auth-root-authentication-method=normal", *_COMMON)

    def start(self, *options: str) -> None:
        """With further options of the server, such as those for TLS."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(shutil.which(_DAEMON, path=_PATH)), "--no-defaults", *_COMMON),
                    *(f"--datadir={self._data}", f"--socket={self.socket}", f"--port={self.port}"),
                    # A killed server may lose nothing; a machine that loses power is nobody's test.
                    *("--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--sync-frm=0"),
                    *("--bind-address=127.0.0.1", "--skip-log-bin", "--performance-schema=off", *options),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        end = time.monotonic() + _PATIENCE
        while not self._listens():
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            assert time.monotonic() < end, "MariaDB does not come up"
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def kill(self) -> None:
        """As a machine that breaks."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(_PATIENCE)

    def execute(self, statement: str, values: tuple[object, ...] = (), database: str | None = None) -> list[Any]:
        """As root; the rows."""
        with self.connected(database) as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    @contextlib.contextmanager
    def connected(self, database: str | None = None) -> Generator[Any]:
        """A cursor of root's, on a connection of its own."""
        connection: Any = pymysql.connect(
            unix_socket=str(self.socket), user="root", database=database, autocommit=True, charset="utf8mb4"
        )
        with connection, connection.cursor() as cursor:
            yield cursor

    def database(self, name: str = "", user: str = "", password: str = "first password") -> Database:
        """A new one. Names are unique when none are given."""
        self._made += 1
        made = Database(name or f"mlflow_{self._made}", user or f"user_{self._made}", password)
        self.execute(f"CREATE DATABASE {_name(made.name)} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
        self.execute("CREATE USER %s@'%%' IDENTIFIED BY %s", (made.user, made.password))
        # In a grant's database name % and _ stand for others.
        pattern = made.name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
        self.execute(f"GRANT ALL ON {_name(pattern).replace('%', '%%')}.* TO %s@'%%'", (made.user,))
        return made

    def copy(self, database: Database) -> Database:
        """Another one with the same tables and rows, for a user of its own."""
        made = self.database()
        root = ["--no-defaults", f"--socket={self.socket}", "--user=root"]
        dump = subprocess.run(["mariadb-dump", *root, database.name], capture_output=True, check=True)
        subprocess.run(["mariadb", *root, made.name], input=dump.stdout, check=True)
        return made

    def change_password(self, database: Database, password: str) -> Database:
        self.execute("ALTER USER %s@'%%' IDENTIFIED BY %s", (database.user, password))
        return dataclasses.replace(database, password=password)

    def end_connections(self, database: Database) -> None:
        """As a server does that is restarted, or that has had enough of idle ones."""
        for row in self.execute("SELECT id FROM information_schema.processlist WHERE user = %s", (database.user,)):
            with contextlib.suppress(pymysql.err.OperationalError):
                self.execute(f"KILL {row[0]}")


_COMMON = (f"--user={getpass.getuser()}", "--innodb-log-file-size=16M", "--innodb-buffer-pool-size=64M")


def _name(text: str) -> str:
    return "`" + text.replace("`", "``") + "`"


def _run(command: str, *arguments: str) -> None:
    done = subprocess.run(
        [command, "--no-defaults", *arguments], capture_output=True, text=True, timeout=_PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _memory() -> Path | None:
    """A folder that is no disk, with some room: tables are made there in a tenth of the time."""
    folder = Path("/dev/shm")
    room = os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > _ROOM
    return folder if room else None


@contextlib.contextmanager
def running() -> Generator[MariaDb]:
    with tempfile.TemporaryDirectory(prefix="mariadb-", dir=_memory()) as folder:
        server = MariaDb(Path(folder))
        server.start()
        # A nobody, whose row stands before those of users from anywhere.
        for host, user in server.execute("SELECT host, user FROM mysql.user WHERE user = ''"):
            server.execute("DROP USER %s@%s", (user, host))
        try:
            yield server
        finally:
            server.stop()
