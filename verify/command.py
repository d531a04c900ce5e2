"""The command: reads the target, runs the steps, deletes the created objects, prints the result."""

import datetime
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

from verify import form
from verify.client_steps import ClientSteps
from verify.created_objects import CreatedObjects, delete_objects, describe_leftover
from verify.http_api import MlflowApi
from verify.http_steps import HttpSteps
from verify.report import Report, Status
from verify.steps import run_steps
from verify.target import ROLE, Target, UsageError, prepare_environment, read_target

PASSED, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code (see target.EXIT_CODES)."""
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
        self.created = [CreatedObjects(f"{name}-http"), CreatedObjects(f"{name}-client")]
        self.over_http = HttpSteps(MlflowApi(target), self.created[0])
        self.with_client = ClientSteps(target.url, self.created[1])
        titles = [step.title for part in (self.over_http, self.with_client) for step in part.steps()]
        self.report = Report(sys.stdout, titles, os.environ)

    def run(self) -> int:
        """Run the steps and delete the created objects, also after Ctrl-C; returns the exit code."""
        begin = time.perf_counter()
        interrupted, clean = False, False
        try:
            self._print_heading()
            self._run_steps()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            clean = self._delete_leftovers(interrupted)
        seconds = time.perf_counter() - begin
        code = self._print_result(interrupted, clean, seconds)
        self._write_form(code, seconds)
        return code

    def _print_heading(self) -> None:
        report = self.report
        report.line(f"Verifying {self.target.url} (token role {ROLE} required: created objects are deleted)")
        if self.target.exposes_token:
            report.paragraph("Warning: http:// sends the token unencrypted over the network; use https://.")
        report.line()
        report.heading()

    def _run_steps(self) -> None:
        over_http, with_client = self.over_http.steps(), self.with_client.steps()
        completed = run_steps("HTTP", over_http, self.report)
        if completed:
            self.report.line("Importing the MLflow client ...")
            completed = run_steps("client", with_client, self.report)
        if not completed:
            self.report.not_run(len(over_http) + len(with_client) - self.report.counts.total())

    def _delete_leftovers(self, interrupted: bool) -> bool:
        """Delete what is left; True when nothing remains. A second Ctrl-C skips this and lists what remains."""
        pending = [created for created in self.created if created.creation_requested and not created.deleted]
        if pending and interrupted:
            self.report.line()
            self.report.line("Interrupted: deleting the created objects (Ctrl-C again skips this) ...")
        # New connections: an interrupted step may have left its own in use.
        api = MlflowApi(self.target)
        left: list[str] = []
        try:
            while pending:
                if reason := delete_objects(api, pending[0]):
                    left.append(reason)
                pending.pop(0)
        except KeyboardInterrupt:
            left += [describe_leftover(created, "Its deletion was interrupted.") for created in pending]
        for reason in left:
            self.report.paragraph(reason)
        return not left

    def _print_result(self, interrupted: bool, clean: bool, seconds: float) -> int:
        report, counts = self.report, self.report.counts
        report.line()
        if clean and any(created.experiment_id for created in self.created):
            report.line(f"Deleted (restorable in MLflow): {self.created[0].name[:-5]}-*")
        if interrupted:
            report.line("INTERRUPTED")
            return INTERRUPTED
        tally = ", ".join(f"{counts[status]} {status.value[0].lower()}" for status in Status if counts[status])
        passed = clean and not counts[Status.FAILED] and not counts[Status.NOT_RUN]
        report.line(f"{'PASSED' if passed else 'FAILED'}: {tally}, in {seconds:.1f} s")
        return PASSED if passed else FAILED

    def _write_form(self, code: int, seconds: float) -> None:
        path = self.target.form
        if path is None:
            return
        described = form.describe(
            self.target,
            self.report.rows,
            artifacts=self.with_client.artifacts,
            server=MlflowApi(self.target).server_version(),
            client=self.with_client.version,
            seconds=seconds,
            result={PASSED: "passed", FAILED: "failed"}.get(code, "interrupted"),
        )
        try:
            form.write(path, described)
        except OSError as error:
            self.report.line(f"The form {path} was not written: {error.strerror}.")
        else:
            self.report.line(f"The form, without secrets: {path}")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
