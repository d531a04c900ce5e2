"""A real MariaDB server (Debian's mariadb-server) in a temporary folder, on a Unix socket and loopback."""

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
# Debian installs daemons in /usr/sbin, which PATH may lack.
_PATH = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
_TIMEOUT_SECONDS = 60.0
_MIN_FREE_BYTES = 1 << 30
INSTANCE = "team-ml:europe-west1:mlflow"


def require_mariadb() -> None:
    """Skip the test if MariaDB is not installed."""
    if shutil.which(_DAEMON, path=_PATH) is None:
        pytest.skip("needs MariaDB: apt-get install mariadb-server")


@dataclasses.dataclass(frozen=True, slots=True)
class Database:
    """A database, and its user with a password."""

    name: str
    user: str
    password: str


class MariaDb:
    """The server. `socket` and `port` do not change on a restart."""

    def __init__(self, folder: Path) -> None:
        # App Engine's path of the socket. Containers mount its folder, because a restart creates a new socket. The path
        # may have at most 107 bytes.
        self.socket = folder / "cloudsql" / INSTANCE
        self.socket.parent.mkdir()
        self._data = folder / "data"
        self._log = folder / "log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        _run("mariadb-install-db", f"--datadir={self._data}", "--auth-root-authentication-method=normal", *_COMMON)

    def start(self, *options: str) -> None:
        """Start the server, with additional options such as those for TLS."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(shutil.which(_DAEMON, path=_PATH)), "--no-defaults", *_COMMON),
                    *(f"--datadir={self._data}", f"--socket={self.socket}", f"--port={self.port}"),
                    # A killed server must lose no data; a power failure is not tested.
                    *("--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--sync-frm=0"),
                    *("--bind-address=127.0.0.1", "--skip-log-bin", "--performance-schema=off", *options),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while not self._listens():
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            assert time.monotonic() < deadline, "MariaDB does not start"
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def kill(self) -> None:
        """Send SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Shut the server down."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(_TIMEOUT_SECONDS)

    def execute(self, statement: str, values: tuple[object, ...] = (), database: str | None = None) -> list[Any]:
        """Run a statement as root; returns the rows."""
        with self.connected(database) as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    @contextlib.contextmanager
    def connected(self, database: str | None = None) -> Generator[Any]:
        """A cursor of root, on a new connection."""
        connection: Any = pymysql.connect(
            unix_socket=str(self.socket), user="root", database=database, autocommit=True, charset="utf8mb4"
        )
        with connection, connection.cursor() as cursor:
            yield cursor

    def database(self, name: str = "", user: str = "", password: str = "first password") -> Database:
        """Create a database. The default names are unique."""
        self._databases += 1
        database = Database(name or f"mlflow_{self._databases}", user or f"user_{self._databases}", password)
        self.execute(f"CREATE DATABASE {_quoted(database.name)} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
        self.execute("CREATE USER %s@'%%' IDENTIFIED BY %s", (database.user, database.password))
        # % and _ are wildcards in a grant's database name.
        pattern = database.name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
        self.execute(f"GRANT ALL ON {_quoted(pattern).replace('%', '%%')}.* TO %s@'%%'", (database.user,))
        return database

    def copy(self, database: Database) -> Database:
        """Create a database with the same tables and rows, and another user."""
        copy = self.database()
        root = ["--no-defaults", f"--socket={self.socket}", "--user=root"]
        dump = subprocess.run(["mariadb-dump", *root, database.name], capture_output=True, check=True)
        subprocess.run(["mariadb", *root, copy.name], input=dump.stdout, check=True)
        return copy

    def change_password(self, database: Database, password: str) -> Database:
        """Change the user's password; returns the database with it."""
        self.execute("ALTER USER %s@'%%' IDENTIFIED BY %s", (database.user, password))
        return dataclasses.replace(database, password=password)

    def end_connections(self, database: Database) -> None:
        """Close the user's connections, as a restarted server or an idle timeout does."""
        for row in self.execute("SELECT id FROM information_schema.processlist WHERE user = %s", (database.user,)):
            with contextlib.suppress(pymysql.err.OperationalError):
                self.execute(f"KILL {row[0]}")


_COMMON = (f"--user={getpass.getuser()}", "--innodb-log-file-size=16M", "--innodb-buffer-pool-size=64M")


def _quoted(text: str) -> str:
    return "`" + text.replace("`", "``") + "`"


def _run(command: str, *arguments: str) -> None:
    done = subprocess.run(
        [command, "--no-defaults", *arguments], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _memory() -> Path | None:
    """A folder in memory with enough space: creating tables takes a tenth of the time there."""
    folder = Path("/dev/shm")
    usable = os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > _MIN_FREE_BYTES
    return folder if usable else None


@contextlib.contextmanager
def running() -> Generator[MariaDb]:
    """A running server in a new folder."""
    with tempfile.TemporaryDirectory(prefix="mariadb-", dir=_memory()) as folder:
        server = MariaDb(Path(folder))
        server.start()
        # The anonymous user precedes users of any host.
        for host, user in server.execute("SELECT host, user FROM mysql.user WHERE user = ''"):
            server.execute("DROP USER %s@%s", (user, host))
        try:
            yield server
        finally:
            server.stop()
