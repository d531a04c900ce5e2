"""``python -m tests.fuzz``: fuzz the proxy for some minutes; one line of JSON for each role and mode."""

import argparse
import asyncio
import itertools
import sys
import tempfile
from pathlib import Path

import uvloop

from proxy_app.auth import ROLES
from tests.doubles.mlflow_routing import Served, Servers

from .campaign import fuzz


def main() -> int:
    """Run all campaigns; returns 1 if any found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for each role and mode (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the messages (default: 1)")
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        servers = Servers(Served.load(Path(folder)))
        for artifacts, role in itertools.product((False, True), (None, *ROLES)):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                report = runner.run(
                    fuzz(
                        Path(folder),
                        servers,
                        role,
                        artifacts=artifacts,
                        seconds=arguments.seconds,
                        seed=arguments.seed,
                    )
                )
            print(report.line(), flush=True)
            failed |= bool(report.wrong)
    return failed


if __name__ == "__main__":
    sys.exit(main())
