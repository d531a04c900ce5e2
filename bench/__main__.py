"""The command line: ``python -m bench [COMMAND]``; without a command, throughput, memory and signing."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench import fairness, memory, signing, throughput, transfers
from bench.machine import BenchmarkError, describe
from bench.processes import ROOT, ended_by_signals

_ABOUT = """\
Benchmarks of the proxy against other proxies. All servers run on this machine,
on loopback: the measured one on its own core, the load generator and the
upstream on the others. Compare ratios within one run rather than absolute
figures, and run nothing else at the same time.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the raw results to this file")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    rates = commands.add_parser("throughput", help="small requests: requests per second and latency")
    rates.add_argument("--rounds", type=int, default=3, help="measurements per server [3]")
    rates.add_argument("--seconds", type=int, default=5, help="duration of one measurement in whole seconds [5]")
    rates.add_argument("--connections", type=int, nargs="+", default=throughput.CONNECTIONS, help="[1 16 64]")
    rates.add_argument("--mixed", action="store_true", help="every other request logs a metric instead of reading")
    rates.add_argument(
        "--baseline", type=_checkout, metavar="CHECKOUT", help="also measure the proxy of another checkout"
    )
    _add_only(rates, throughput.NAMES)
    bodies = commands.add_parser("memory", help="large bodies: time and peak memory above idle")
    bodies.add_argument("--mib", type=int, default=1024, help="body size for the proxy alone [1024]")
    bodies.add_argument("--side-mib", type=int, default=256, help="body size for the comparison [256]")
    bodies.add_argument("--rounds", type=int, default=3, help="measurements per server in the comparison [3]")
    _add_only(bodies, memory.NAMES)
    signer = commands.add_parser("signing", help="time per signature, compared with botocore")
    signer.add_argument("--rounds", type=int, default=15, help="[15]")
    artifacts = commands.add_parser("transfers", help="artifacts to and from S3 (versitygw), compared with boto3")
    artifacts.add_argument("--mib", type=int, default=1024, help="size of the file [1024]")
    artifacts.add_argument("--rounds", type=int, default=3, help="[3]")
    fair = commands.add_parser("fairness", help="latency of a polite client beside a flood, with and without limits")
    fair.add_argument("--rounds", type=int, default=3, help="[3]")
    fair.add_argument("--seconds", type=int, default=8, help="duration of one measurement in whole seconds [8]")
    for command in (rates, bodies, signer, artifacts, fair):
        command.add_argument("--json", type=Path, default=argparse.SUPPRESS, metavar="FILE", help=argparse.SUPPRESS)
    return parser


def _checkout(text: str) -> Path:
    path = Path(text).resolve()
    if path == ROOT or not (path / "proxy_app" / "__main__.py").is_file():
        raise argparse.ArgumentTypeError(f"got {text}, expected another checkout of this repository")
    return path


def _add_only(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=" ".join(names))


def _chosen(options: argparse.Namespace) -> list[tuple[str, Callable[[], dict[str, Any]]]]:
    """The selected benchmarks, in order."""
    if options.command == "throughput":
        rates = throughput.Plan(
            only=tuple(options.only),
            connections=tuple(options.connections),
            rounds=options.rounds,
            seconds=options.seconds,
            mixed=options.mixed,
            baseline=options.baseline,
        )
        return [("throughput", partial(throughput.run, rates))]
    if options.command == "memory":
        bodies = memory.Plan(only=tuple(options.only), size=options.mib, side=options.side_mib, rounds=options.rounds)
        return [("memory", partial(memory.run, bodies))]
    if options.command == "signing":
        return [("signing", partial(signing.run, options.rounds))]
    if options.command == "transfers":
        return [("transfers", partial(transfers.run, transfers.Plan(options.mib, options.rounds)))]
    if options.command == "fairness":
        return [("fairness", partial(fairness.run, options.rounds, options.seconds))]
    return [
        ("signing", signing.run),
        ("throughput", partial(throughput.run, throughput.Plan())),
        ("memory", partial(memory.run, memory.Plan())),
    ]


def main(arguments: list[str]) -> int:
    """Run the benchmarks; returns 0 when all ran, whether or not goals are met, and 2 when they cannot run."""
    options = _parser().parse_args(arguments)
    began = time.monotonic()
    results: dict[str, Any] = {}
    try:
        with ended_by_signals():
            results["machine"] = describe()
            print(results["machine"], flush=True)
            for name, run in _chosen(options):
                print(f"\n== {name}", flush=True)
                results |= run()
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\n{time.monotonic() - began:.0f} s in total")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
