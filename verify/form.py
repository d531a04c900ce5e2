"""The form of a first deployment (docs/first-deployment.md): versions, steps with their durations, what differed.

It holds no secret: no token, of the URL the host only, and no account number.
"""

import json
import platform
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from verify.report import Row, Status
from verify.target import Target

# What only the reader of the page can say.
BY_HAND = (
    "cloud, stack and region",
    "minutes of the first `pulumi up`",
    "changes of a second `pulumi up`",
    "file of 33 MB",
    "failed update",
    "minutes of `pulumi destroy`",
    "`make leftovers` after it",
    "what differed from the page",
)
_URL = re.compile(r"https?://[^\s'\"<>]+")
# Also those of others, or cut by errors.sanitize: the proxy's, JSON Web Tokens, Google's access tokens.
_TOKEN = re.compile(r"Bearer \S+|\b(?:mlp_|eyJ|ya29\.)[\w.-]+")
_ACCOUNT = re.compile(r"\b\d{12}\b")


def describe(
    target: Target, rows: Sequence[Row], *, artifacts: str, server: str, client: str, seconds: float, result: str
) -> dict[str, Any]:
    """Return the form. ``artifacts`` is the scheme of the artifacts' URI, ``seconds`` the duration of the run."""
    return {
        "pulumi-mlflow": _version(),
        "MLflow server": _redacted(server, target),
        "MLflow client": client,
        "Python": platform.python_version(),
        "client's system": f"{platform.system()} {platform.machine()}",
        "host": urlsplit(target.url).hostname or "",
        "artifacts": artifacts or "not known",
        "result": result,
        "seconds": round(seconds, 1),
        "steps": [
            {
                "via": row.via,
                "step": row.title,
                "status": row.status.value[0],
                "milliseconds": round(row.milliseconds),
                **({"differed": _redacted(row.note, target)} if row.status is not Status.OK else {}),
            }
            for row in rows
        ],
        "by hand": dict.fromkeys(BY_HAND, ""),
    }


def write(path: Path, form: dict[str, Any]) -> None:
    """Write the form as JSON or Markdown, by the file's suffix. Raises OSError."""
    path.write_text(
        json.dumps(form, indent=2, ensure_ascii=False) + "\n" if path.suffix == ".json" else _markdown(form),
        encoding="utf-8",
    )


def _markdown(form: dict[str, Any]) -> str:
    lines = ["# First deployment", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(form[name])} |" for name in form if name not in ("steps", "by hand")]
    lines += ["", "| via | step | status | ms | differed |", "|---|---|---|---|---|"]
    for step in form["steps"]:
        cells = (step["via"], step["step"], step["status"], step["milliseconds"], step.get("differed", ""))
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    lines += ["", "To fill in by hand:", "", "| | |", "|---|---|"]
    lines += [f"| {name} | |" for name in form["by hand"]]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _redacted(text: str, target: Target) -> str:
    """A text without the token, with the host of each URL only, and without account numbers."""
    for token in filter(None, (target.token, target.viewer_token)):
        text = text.replace(token, "[token]")
    text = _TOKEN.sub("[token]", text)
    text = _URL.sub(lambda found: f"[URL of {urlsplit(found[0]).hostname}]", text)
    return _ACCOUNT.sub("[account]", text)


def _version() -> str:
    project = Path(__file__).parents[1] / "pyproject.toml"
    return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
