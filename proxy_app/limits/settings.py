"""The settings of fair use."""

import dataclasses
from typing import ClassVar

from ..setting_table import SettingTable, setting
from ..setting_values import count, seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class FairUseSettings(SettingTable):
    """Limits of each principal, and the queue above them; times in seconds. They hold for one process."""

    title: ClassVar[str] = "Fair use"

    principal_max_requests: int = setting(
        "MLFLOW_PROXY_PRINCIPAL_MAX_REQUESTS",
        "64",
        "Requests in flight of one principal; as many more wait in the queue, further ones get 429.",
        count,
    )
    principal_requests_per_second: int = setting(
        "MLFLOW_PROXY_PRINCIPAL_REQUESTS_PER_SECOND",
        "100",
        "Requests per second of one principal, with bursts of two seconds' worth; further ones wait in the queue.",
        count,
    )
    queue_seconds: float = setting(
        "MLFLOW_PROXY_QUEUE_SECONDS",
        "5",
        "Longest wait of a request above a limit, before it gets 429; principals get free places in turn.",
        seconds,
    )
