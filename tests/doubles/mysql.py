"""A real MySQL server in a temporary folder, on a Unix socket and loopback.

It is mysql-server-core of Debian's unstable suite, since the stable one has no MySQL; it runs with the libraries of its
own suite, unpacked under .local/.
"""

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

from tests.doubles import debian

_TIMEOUT_SECONDS = 60.0
_MIN_FREE_BYTES = 1 << 30


def require_mysql() -> None:
    """Skip the test if MySQL cannot be had."""
    try:
        _root()
    except debian.UnavailableError as error:
        pytest.skip(f"needs MySQL of Debian's unstable suite, from {error}")


def _root() -> Path:
    # mysqld needs Perl for its scripts only.
    return debian.unpacked("mysql-server-core", without=("perl", "libperl"))


def _command(*options: str) -> list[str]:
    """mysqld with the loader and libraries of its suite."""
    root = _root()
    (loader,) = root.glob("usr/lib/*-linux-gnu/ld-linux-*.so.*")
    return [
        *(str(loader), "--library-path", str(loader.parent), str(root / "usr/sbin/mysqld"), "--no-defaults"),
        *(f"--user={getpass.getuser()}", f"--basedir={root / 'usr'}", f"--lc-messages-dir={root / 'usr/share/mysql'}"),
        # A killed server must lose no data; a power failure is not tested.
        *("--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--innodb-doublewrite=OFF"),
        *("--innodb-redo-log-capacity=32M", "--innodb-buffer-pool-size=64M", "--log-error-verbosity=1", *options),
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class Database:
    """A database, and its user with a password."""

    name: str
    user: str
    password: str


class MySql:
    """The server. `socket` and `port` do not change on a restart."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "socket"
        self._data = folder / "data"
        self._log = folder / "log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        command = _command("--initialize-insecure", f"--datadir={self._data}")
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, *options: str) -> None:
        """Start the server, with additional options."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                _command(
                    *(f"--datadir={self._data}", f"--socket={self.socket}", f"--port={self.port}"),
                    *("--bind-address=127.0.0.1", "--mysqlx=OFF", "--skip-log-bin", "--performance-schema=OFF"),
                    *("--secure-file-priv=NULL", *options),
                ),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while not self._listens():
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            assert time.monotonic() < deadline, "MySQL does not start"
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
        with self.connected(copy.name) as cursor:
            # MLflow's default experiment has the id 0.
            cursor.execute("SET FOREIGN_KEY_CHECKS = 0, SQL_MODE = 'NO_AUTO_VALUE_ON_ZERO'")
            for (table,) in self.execute(f"SHOW TABLES FROM {_quoted(database.name)}"):
                source = f"{_quoted(database.name)}.{_quoted(table)}"
                cursor.execute(f"SHOW CREATE TABLE {source}")
                cursor.execute(cursor.fetchone()[1])
                # A generated column takes no value.
                cursor.execute(
                    "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s "
                    "AND generation_expression = ''",
                    (database.name, table),
                )
                columns = ", ".join(_quoted(column) for (column,) in cursor.fetchall())
                cursor.execute(f"INSERT INTO {_quoted(table)} ({columns}) SELECT {columns} FROM {source}")
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


def _quoted(text: str) -> str:
    return "`" + text.replace("`", "``") + "`"


def _memory() -> Path | None:
    """A folder in memory with enough space: creating tables takes a tenth of the time there."""
    folder = Path("/dev/shm")
    usable = os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > _MIN_FREE_BYTES
    return folder if usable else None


@contextlib.contextmanager
def running() -> Generator[MySql]:
    """A running server in a new folder."""
    with tempfile.TemporaryDirectory(prefix="mysql-", dir=_memory()) as folder:
        server = MySql(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
