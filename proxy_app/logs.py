"""Log lines as JSON on standard output."""

import json
import logging
import sys
import time
from functools import lru_cache


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object: time, level, event, message, and the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The JSON text of a record, without a line feed."""
        line: dict[str, object] = {
            "time": timestamp(),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.name),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_as_json() -> None:
    """Write all log records of level INFO and above as JSON lines to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # botocore logs each credential that it finds; a failed refresh is logged once, by the credential keeper.
    logging.getLogger("botocore").setLevel(logging.CRITICAL)


def timestamp() -> str:
    """The time in UTC with milliseconds, as in 2026-11-22T10:00:00.123Z."""
    seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
