"""Cloud Scheduler's jobs with an HTTP target."""

import re

from ...kind import Name, Problems, Reference, Values
from ..common import among, between, group, known, matches
from .identity import ACCOUNT
from .project import DURATION, PROJECT, in_region, of_google

JOB = "gcp:cloudscheduler/job:Job"
_FIELD = r"(?:\*|\d+(?:-\d+)?)(?:/\d+)?(?:,\d+(?:-\d+)?)*"


def _problems(inputs: Values) -> Problems:
    """https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs."""
    yield from matches(inputs, "name", r"[\w-]{1,500}")
    yield from in_region(inputs, "region")
    schedule = known(inputs, "schedule")
    if schedule is not None and not re.fullmatch(rf"{_FIELD}(?: {_FIELD}){{4}}", str(schedule)):
        yield "schedule", f"got {schedule!r}, expected five fields of cron"
    yield from matches(inputs, "attemptDeadline", DURATION)
    yield from between(group(inputs, "retryConfig"), "retryCount", 0, 5)
    target = group(inputs, "httpTarget")
    if not target:
        yield "httpTarget", "expected a target"
        return
    yield from matches(target, "uri", r"https?://\S+")
    yield from among(target, "httpMethod", ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"))
    token = group(target, "oidcToken")
    if token and not known(token, "serviceAccountEmail"):
        yield "httpTarget.oidcToken.serviceAccountEmail", "required"
    if token and target.get("oauthToken"):
        yield "httpTarget", "expected one of oauthToken and oidcToken"


KINDS = (
    of_google(
        JOB,
        "cloudscheduler",
        lambda request: (
            f"projects/{PROJECT}/locations/{request.inputs['region']}/jobs/{request.inputs['name']}",
            {"state": "ENABLED"},
        ),
        name=Name(limit=500),
        references=(Reference(path="httpTarget.oidcToken.serviceAccountEmail", kinds=(ACCOUNT,), by=("email",)),),
        check=_problems,
    ),
)
