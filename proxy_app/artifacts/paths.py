"""The paths of artifacts in requests, read as MLflow's server reads them, and the headers of a downloaded file."""

import re
import unicodedata
from mimetypes import guess_type
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import quote, unquote

from .. import errors

_DECODINGS = 10
_CONTROL = re.compile(r"[\0-\x1f\x7f]")
_WORKSPACES = "workspaces"
_DEFAULT_WORKSPACE = "default"
_WORKSPACE = re.compile(r"[A-Za-z0-9_-]+")
# mlflow.utils.mime_type_utils of MLflow 3.17.2.
_TEXT = re.compile(
    r"txt|log|err|cfg|conf|cnf|cf|ini|properties|prop|hocon|toml|yaml|yml|xml|json|js|py|py3|csv|tsv|md|rst|ipynb|"
    r"MLmodel|MLproject"
)
# attr-char of RFC 8187.
_ATTRIBUTE = "!#$&+-.^_`|~"
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")


def artifact_path(text: str) -> str:
    """A path below the root or below a run's location. ApiError 400 if it could name something else.

    It is decoded until it does not change, as MLflow does (``validate_path_is_safe``): a client's ``a%2520b`` is the
    file ``a b``, which a list shows and a second request finds.
    """
    path = text
    for _ in range(_DECODINGS):
        path, before = unquote(path), path
        if path == before:
            break
    else:
        raise _invalid("it is percent-encoded too many times")
    if "#" in path:
        raise _invalid("it has a #, which MLflow's clients cut off")
    if _CONTROL.search(path):
        raise _invalid("it has a control character")
    if "\ufffd" in path:
        raise _invalid("it is not UTF-8")
    if path.startswith("/") or PureWindowsPath(path).is_absolute():
        raise _invalid("it is absolute")
    if any(segment in {"", ".", ".."} for segment in re.split(r"[/\\]", path)) if path else False:
        raise _invalid("it has an empty segment, or one that is . or ..")
    return path


def workspace_path(path: str, workspace: str) -> str:
    """``path`` in the workspace that a request names by X-MLFLOW-WORKSPACE. ApiError 400 if it is in another one.

    MLflow stores the artifacts of every workspace but the default one below ``workspaces/NAME``.
    """
    workspace = workspace or _DEFAULT_WORKSPACE
    if not _WORKSPACE.fullmatch(workspace):
        raise errors.bad_request("X-MLFLOW-WORKSPACE is not the name of a workspace.", reason="invalid-workspace")
    first, _, rest = path.partition("/")
    if first == _WORKSPACES:
        named = rest.partition("/")[0]
        if named != workspace:
            raise errors.bad_request(
                f"Artifact path targets workspace '{named}' but the workspace specified in the request is "
                f"'{workspace}'.",
                reason="other-workspace",
            )
        return path
    if workspace == _DEFAULT_WORKSPACE:
        return path
    return "/".join(part for part in (_WORKSPACES, workspace, path) if part)


def content_type(path: str) -> str:
    """The Content-Type of a download: text of any kind is plain, so that browsers never run it."""
    name = PurePosixPath(path).name
    extension = PurePosixPath(name).suffix[1:] or name
    if _TEXT.fullmatch(extension):
        return "text/plain"
    return guess_type(name)[0] or "application/octet-stream"


def content_disposition(path: str) -> str:
    """``attachment`` with the file's name, which browsers then save and do not show (RFC 6266)."""
    name = PurePosixPath(path).name
    if name.isascii():
        return f"attachment; filename={_quoted(name)}"
    fallback = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() or "download"
    return f"attachment; filename={_quoted(fallback)}; filename*=UTF-8''{quote(name, safe='!#$&+-.^_`|~')}"


def _quoted(value: str) -> str:
    if _TOKEN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _invalid(reason: str) -> errors.ApiError:
    return errors.bad_request(f"Invalid path: {reason}.", reason="invalid-path")
