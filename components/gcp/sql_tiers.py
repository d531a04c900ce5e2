"""Machine types of Cloud SQL. https://cloud.google.com/sql/docs/mysql/instance-settings#machine-type-2ndgen"""

import re

_CUSTOM = re.compile(r"db-custom-(\d+)-(\d+)")
_ENTERPRISE_PLUS = re.compile(r"db-perf-optimized-N-\d+")
_LEGACY = re.compile(r"db-n1-(?:standard|highmem)-\d+")


def is_enterprise_plus(tier: str) -> bool:
    """Whether a machine type belongs to the Enterprise Plus edition."""
    return _ENTERPRISE_PLUS.fullmatch(tier) is not None


def max_connections(tier: str) -> int:
    """The default of MySQL's max_connections on a machine type.

    https://cloud.google.com/sql/docs/mysql/flags (max_connections)
    """
    return {"db-f1-micro": 250, "db-g1-small": 1000}.get(tier, 4000)


def tier_problem(tier: str) -> str | None:
    """What is wrong with the name of a machine type, as the end of an error message; None if it is valid."""
    if tier in ("db-f1-micro", "db-g1-small") or is_enterprise_plus(tier):
        return None
    if _LEGACY.fullmatch(tier):
        return "a legacy name: use db-custom-CORES-MIB, such as db-custom-1-3840 for db-n1-standard-1"
    custom = _CUSTOM.fullmatch(tier)
    if custom is None:
        return "expected db-f1-micro, db-g1-small, db-custom-CORES-MIB or db-perf-optimized-N-CORES"
    cores, memory = int(custom[1]), int(custom[2])
    if cores != 1 and (cores % 2 or not 2 <= cores <= 96):
        return "expected 1 core, or an even number up to 96"
    if memory % 256 or memory < 3840 or not 0.9 <= memory / 1024 / cores <= 6.5:
        return "expected memory in multiples of 256 MiB, 3840 or more, 0.9 to 6.5 GiB for each core"
    return None
