"""The command: read what to try, run the steps, remove what was made, say how it went."""

import datetime
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

from verify.client_steps import ClientSteps
from verify.http_api import Api
from verify.http_steps import HttpSteps
from verify.made import Made, left_behind, remove
from verify.report import Report, Status
from verify.steps import run_steps
from verify.target import ROLE, Target, UsageError, prepare_environment, read_target

PASSED, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    try:
        target = read_target(arguments, os.environ)
    except UsageError as error:
        print(error, file=sys.stderr)
        return USAGE
    prepare_environment(target, os.environ)
    signal.signal(signal.SIGTERM, _interrupt)
    return Verification(target).run()


class Verification:
    """One run of all steps against one target."""

    def __init__(self, target: Target) -> None:
        self.target = target
        now = datetime.datetime.now(datetime.UTC)
        name = f"verify-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self.made = [Made(f"{name}-http"), Made(f"{name}-client")]
        self.over_http = HttpSteps(Api(target), self.made[0])
        self.with_client = ClientSteps(target.url, self.made[1])
        titles = [step.title for part in (self.over_http, self.with_client) for step in part.steps()]
        self.report = Report(sys.stdout, titles, os.environ)

    def run(self) -> int:
        begin = time.perf_counter()
        interrupted, clean = False, False
        try:
            self._opening()
            self._steps()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            clean = self._remove(interrupted)
        return self._closing(interrupted, clean, time.perf_counter() - begin)

    def _opening(self) -> None:
        report = self.report
        report.line(f"Trying {self.target.url}. It needs a token with the role {ROLE}: what is made is deleted again.")
        if self.target.exposes_token:
            report.paragraph("Take care: over http:// the token crosses the network readable; https:// hides it.")
        report.line()
        report.heading()

    def _steps(self) -> None:
        over_http, with_client = self.over_http.steps(), self.with_client.steps()
        whole = run_steps("HTTP", over_http, self.report)
        if whole:
            self.report.line("Starting the MLflow client, which takes some seconds.")
            whole = run_steps("client", with_client, self.report)
        if not whole:
            self.report.not_tried(len(over_http) + len(with_client) - self.report.counts.total())

    def _remove(self, interrupted: bool) -> bool:
        """Remove what the steps left; True when nothing stays. A second Ctrl-C leaves it, and says what it is."""
        waiting = [made for made in self.made if made.asked and not made.deleted]
        if waiting and interrupted:
            self.report.line()
            self.report.line("Interrupted: marking as deleted what was made (Ctrl-C again leaves it) ...")
        # Not the connections that an interrupted step used.
        api = Api(self.target)
        left: list[str] = []
        try:
            while waiting:
                if reason := remove(api, waiting[0]):
                    left.append(reason)
                waiting.pop(0)
        except KeyboardInterrupt:
            left += [left_behind(made, "Its removal was interrupted.") for made in waiting]
        for reason in left:
            self.report.paragraph(reason)
        return not left

    def _closing(self, interrupted: bool, clean: bool, seconds: float) -> int:
        report, counts = self.report, self.report.counts
        report.line()
        if clean and any(made.experiment_id for made in self.made):
            report.line(f"All that was made is marked as deleted: {self.made[0].name[:-5]}-*.")
        if interrupted:
            report.line("INTERRUPTED")
            return INTERRUPTED
        tally = ", ".join(f"{counts[status]} {status.value[0].lower()}" for status in Status if counts[status])
        passed = clean and not counts[Status.FAILED] and not counts[Status.NOT_TRIED]
        report.line(f"{'PASSED' if passed else 'FAILED'}: {tally}, in {seconds:.1f} s")
        return PASSED if passed else FAILED


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
