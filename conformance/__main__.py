"""The command line: ``python -m conformance CHECKOUT``."""

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODES = ("direct", "plain", "signed")
# The tests that start a server and send it requests; the others replace the server by mocks.
FILES = (
    "tests/tracking/test_rest_tracking.py",
    "tests/tracking/test_model_registry.py",
    "tests/tracking/test_client_webhooks.py",
    "tests/tracking/test_mlflow_artifacts.py",
    "tests/store/model_registry/test_rest_store_webhooks.py",
    "tests/webhooks/test_e2e.py",
    "tests/tracing/test_otel_logging.py",
    "tests/tracing/test_otel_loading.py",
    "tests/genai/evaluate/test_evaluation.py",
    "tests/demo/test_api_routes.py",
)
_TIMEOUT_SECONDS = 120
# Results by test: passed, failed, error or skipped.
Results = Mapping[str, str]

_ABOUT = """\
Runs MLflow's own tests of its REST API without the proxy (direct), through the
proxy (plain), and through the proxy that signs for the fake SageMaker
(signed); prints the results and every difference in Markdown. The exit code is
1 if a difference has no explanation in conformance/explanations.toml.
"""


def main() -> int:
    """Run the tests and print the report; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m conformance", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", type=Path, help="a checkout of MLflow's repository, near the installed version")
    parser.add_argument("--files", nargs="+", default=FILES, metavar="FILE", help="test files, relative to CHECKOUT")
    parser.add_argument("--modes", nargs="+", default=MODES, choices=MODES, help="only these")
    parser.add_argument("--workers", type=int, default=1, help="processes [1]")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep pytest's output and the access logs there")
    options = parser.parse_args()
    files = [file for file in options.files if (options.checkout / file).is_file()]
    if not files:
        parser.error(f"{options.checkout} has none of these files: {', '.join(options.files)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        # Without MLflow's package beside them, the tests import the installed one.
        copy = folder / "checkout"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(options.checkout / "tests", copy / "tests")
        results = {mode: _run(mode, copy, folder, files, options.workers) for mode in options.modes}
    text, unexplained = report(results, tomllib.loads((Path(__file__).parent / "explanations.toml").read_text()))
    print(f"MLflow {importlib.metadata.version('mlflow')}, tests of {_version(options.checkout)}.\n")
    print(text)
    for name in unexplained:
        print(f"not explained: {name}", file=sys.stderr)
    return 1 if unexplained else 0


def _version(checkout: Path) -> str:
    for file in ("mlflow/version.py", "pyproject.toml"):
        path = checkout / file
        if path.is_file() and (found := re.search(r"""(?im)^version\s*=\s*["'](.+)["']""", path.read_text())):
            return found[1]
    return "an unknown version"


def _run(mode: str, copy: Path, folder: Path, files: list[str], workers: int) -> Results:
    """Run pytest in the copy, and return its results."""
    junit = folder / f"{mode}.xml"
    junit.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-v", "-p", "conformance.plugin", "-p", "no:cacheprovider"]
    command += ["-c", os.devnull, "--rootdir", str(copy), "--junit-xml", str(junit), "-n", str(workers)]
    command += ["-o", f"timeout={_TIMEOUT_SECONDS}", "-W", "ignore", *files]
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(copy), str(ROOT)]),
        "CONFORMANCE_MODE": mode,
        "CONFORMANCE_LOG": str(folder / f"{mode}.log"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # A client would repeat a request for four minutes whose response is a server error.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    }
    print(f"Running the tests: {mode}", file=sys.stderr)
    with (folder / f"{mode}.txt").open("w") as output:
        subprocess.run(command, cwd=copy, env=environ, stdout=output, stderr=subprocess.STDOUT, check=False)
    if not junit.exists():
        raise SystemExit(f"pytest wrote no results: {(folder / f'{mode}.txt').read_text()[-2000:]}")
    return read_results(junit)


def read_results(junit: Path) -> Results:
    """The results in a file in JUnit's format, by file and test name."""
    results: dict[str, str] = {}
    for case in ET.parse(junit).getroot().iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '')}"
        outcome = "passed"
        for kind in ("skipped", "failure", "error"):
            if case.find(kind) is not None:
                outcome = {"failure": "failed"}.get(kind, kind)
        results[name] = outcome
    return results


def report(results: Mapping[str, Results], explanations: Mapping[str, str]) -> tuple[str, list[str]]:
    """The tables of results and of differences in Markdown, and the differences without an explanation.

    ``explanations``: reasons by regular expression of ``file::test (mode)``.
    """
    names = sorted({name for each in results.values() for name in each})
    files = sorted({name.partition("::")[0] for name in names})
    lines = [f"| file | tests | {' | '.join(results)} |", f"|---|---|{'---|' * len(results)}"]
    for file in [*files, "all"]:
        of_file = [name for name in names if file in (name.partition("::")[0], "all")]
        passed = [sum(each.get(name) == "passed" for name in of_file) for each in results.values()]
        lines.append(f"| {file.removeprefix('tests/')} | {len(of_file)} | {' | '.join(map(str, passed))} |")
    lines += ["", "| test | direct | proxy | explanation |", "|---|---|---|---|"]
    unexplained: list[str] = []
    direct = results.get("direct", {})
    for name in names:
        for mode in [mode for mode in results if mode != "direct"]:
            before, after = direct.get(name, "missing"), results[mode].get(name, "missing")
            if before == after or {before, after} == {"failed", "error"}:
                continue
            case = f"{name} ({mode})"
            reason = next((reason for pattern, reason in explanations.items() if re.search(pattern, case)), "")
            if not reason:
                unexplained.append(f"{case}: {before}, {after}")
            lines.append(f"| `{name.removeprefix('tests/')}` | {before} | {mode}: {after} | {reason} |")
    return "\n".join(lines), unexplained


if __name__ == "__main__":
    sys.exit(main())
