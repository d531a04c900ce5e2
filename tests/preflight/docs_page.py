"""Write docs/preflight.md: the list of checks, and a run against the doubles. `make docs` runs this.

`python -m tests.preflight.docs_page --latency 0.2` prints how long a run takes if each response takes 0.2 s.
"""

import argparse
import functools
import json
import tempfile
import time
from pathlib import Path

from preflight.checks import CHECKS, applying
from preflight.model import Check
from preflight.report import exit_code, text
from preflight.runner import result, run
from preview.console import Style
from tests.components.scenario import ROOT
from tests.preflight.aws_account import moto_without_images
from tests.preflight.faults import CASES
from tests.preflight.gcp_project import REQUIRED
from tests.preflight.stacks import World, stack_of, world

_INTRODUCTION = """# Check an account before the first deployment

`make docs` writes the tables of this page from the checks in `preflight/`.

```console
$ make preflight STACK=dev                       # FORMAT=json for programs
```

`make preflight` finds what would make the first `pulumi up` of a stack fail, before anything is created. It records the
stack's resources, as `make preview` does, and checks the account for what they need. It uses your own credentials: the
AWS SDK's default chain, with `aws:profile` and `aws:region` of the stack's file, or Application Default Credentials
(`gcloud auth application-default login`). It only reads, creates nothing, and sends no telemetry. The first start
installs its packages in `.local/`.

| exit code | meaning |
|---|---|
| 0 | every check passed |
| 1 | a check failed, or the stack's file has errors |
| 2 | no check failed, but some could not be done; also without credentials, whatever the other checks found |

GNU make exits with 2 if a command fails, whatever its exit code. Scripts use
`.local/venv/bin/python -m preflight --stack dev`, or `exit_code` in the JSON.

"Could not check" names the missing permission, if that is the reason; the tables below list what each check needs.
A failed check says what to do. All checks run at the same time;
those without a result after 50 s could not be done. Checks of names and quotas read the stack's state (`pulumi stack
export`), so that resources of the stack itself are no faults, and later updates can be checked, too.

What the checks cannot know is in [limits.md](limits.md): they predict, and the cloud decides.
"""
_EXAMPLE = """## Example

Runs against the test doubles of an AWS account and of a Google Cloud project, with planted faults:
"""
_PERMISSIONS = """## Permissions

The policies of [aws.md](aws.md#permissions-of-the-deployer) do not include all permissions of the checks. For the
principal that runs `make preflight`:

```json
POLICY
```

The roles of [gcp.md](gcp.md#permissions-of-the-deployer) include those of the Google Cloud checks.
"""
_DURATION = """## Duration

If each response of a cloud, of Pulumi and of Docker takes 200 ms, the checks take 5.1 s for `dev`, with the first load
of boto3's models, 3.4 s for `prod`, and 0.4 s for `gcp-dev` and `gcp-prod`. Recording the resources takes another 2 to
5 s. Measured on a shared two-core machine with the test doubles:

```console
$ .local/venv/bin/python -m tests.preflight.docs_page --latency 0.2
```
"""
# Cases of tests/preflight/faults/ whose faults the example has.
_PLANTED = {
    "dev": ("aws quota of addresses", "aws names", "aws instance type"),
    "gcp-dev": ("gcp billing", "gcp policy compute.skipDefaultNetworkCreation", "gcp OAuth redirect", "gcp members"),
}


def _table(checks: list[Check]) -> str:
    rows = [
        f"| {check.name} | {check.sentence} | {check.concerns} | "
        f"{', '.join(f'`{name}`' for name in sorted(permissions(check)))} |"
        for check in checks
    ]
    return "\n".join(["| check | what it checks | applies to | permissions |", "|---|---|---|---|", *rows]) + "\n"


@functools.cache
def permissions(check: Check) -> frozenset[str]:
    """Return the permissions that the check requires, from the requests of its cases to the doubles."""
    found: set[str] = set()
    for case in CASES[check.name]:
        made = world(stack_of(case.stack, case.settings, case.config), Path("none"))
        with moto_without_images():
            case.prepare(made)
            result(check, made.subject())
        found |= made.aws.called - {"sts:GetCallerIdentity"} | {REQUIRED[method] for method in made.gcp.called}
    return frozenset(found - {""})


def _policy() -> str:
    """An IAM policy with the permissions of all checks."""
    actions = sorted({name for check in CHECKS if check.name.startswith("aws ") for name in permissions(check)})
    statement = {"Sid": "Preflight", "Effect": "Allow", "Action": actions, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


def _groups() -> list[tuple[str, list[Check]]]:
    aws = [check for check in CHECKS if check.name.startswith("aws ")]
    google = [check for check in CHECKS if check.name.startswith("gcp ")]
    local = [check for check in CHECKS if check not in (*aws, *google)]
    return [("The stack's file, Pulumi and this machine", local), ("AWS", aws), ("Google Cloud", google)]


def _world(stack: str, home: Path) -> World:
    return world(stack_of(stack), home)


def example(stack: str) -> str:
    """Return the table of a run against the doubles."""
    with moto_without_images(), tempfile.TemporaryDirectory() as home:
        made = _world(stack, Path(home))
        for name in _PLANTED[stack]:
            case = CASES[name][0]
            case.prepare(made)
            case.break_it(made)
        made.aws.denied = {"ssm:GetParameter"}
        made.gcp.denied = {"compute.v1.regions.get"}
        subject = made.subject()
        results = run(applying(subject), subject)
    title = f"{subject.stack.project}, stack {subject.stack.name} ({subject.stack.file.name})"
    return f"```text\n{text(title, results, Style(colours=False))}```\n\nExit code: {exit_code(results)}.\n"


def page() -> str:
    """Return docs/preflight.md."""
    lists = [f"## {title}\n\n{_table(checks)}" for title, checks in _groups()]
    required = _PERMISSIONS.replace("POLICY", _policy())
    return "\n".join([_INTRODUCTION, _EXAMPLE, *map(example, _PLANTED), *lists, required, _DURATION])


def _measure(latency: float) -> None:
    for stack in ("dev", "prod", "gcp-dev", "gcp-prod"):
        with moto_without_images(), tempfile.TemporaryDirectory() as home:
            made = _world(stack, Path(home))
            made.aws.latency = made.gcp.latency = made.web.latency = made.machine.latency = latency
            subject = made.subject()
            start = time.monotonic()
            results = run(applying(subject), subject)
            print(f"{stack}: {len(results)} checks, {time.monotonic() - start:.1f} s")


def main() -> None:
    """Write the page, or measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, help="seconds that each response takes; writes no page")
    options = parser.parse_args()
    if options.latency is None:
        (ROOT / "docs" / "preflight.md").write_text(page())
    else:
        _measure(options.latency)


if __name__ == "__main__":
    main()
