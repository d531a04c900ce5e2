"""Cloud SQL's machines. https://cloud.google.com/sql/docs/mysql/instance-settings#machine-type-2ndgen"""

import re

_CUSTOM = re.compile(r"db-custom-(\d+)-(\d+)")
_PLUS = re.compile(r"db-perf-optimized-N-\d+")
_LEGACY = re.compile(r"db-n1-(?:standard|highmem)-\d+")


def enterprise_plus(tier: str) -> bool:
    """Whether a machine is of Cloud SQL's Enterprise Plus edition."""
    return _PLUS.fullmatch(tier) is not None


def connections(tier: str) -> int:
    """How many connections MySQL takes there, if no flag says otherwise.

    https://cloud.google.com/sql/docs/mysql/flags (max_connections)
    """
    return {"db-f1-micro": 250, "db-g1-small": 1000}.get(tier, 4000)


def wrong_tier(tier: str) -> str | None:
    """What is wrong with a machine's name; None if nothing is."""
    if tier in ("db-f1-micro", "db-g1-small") or enterprise_plus(tier):
        return None
    if _LEGACY.fullmatch(tier):
        return "that is an older name: use db-custom-CORES-MIB, such as db-custom-1-3840 for db-n1-standard-1"
    custom = _CUSTOM.fullmatch(tier)
    if custom is None:
        return "allowed is db-f1-micro, db-g1-small, db-custom-CORES-MIB or db-perf-optimized-N-CORES"
    cores, memory = int(custom[1]), int(custom[2])
    if cores != 1 and (cores % 2 or not 2 <= cores <= 96):
        return "allowed are 1 core, or an even number up to 96"
    if memory % 256 or memory < 3840 or not 0.9 <= memory / 1024 / cores <= 6.5:
        return "allowed are multiples of 256 MiB, 3840 or more, 0.9 to 6.5 GiB for each core"
    return None
