"""Read the pages about Google Cloud, and record the program with their settings."""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic.alias_generators import to_camel

from components.gcp.settings import GcpMlflowSettings
from components.validation import ValidatedArgs, nested_model
from preview.recorder import Graph, record
from preview.stack_files import read_stack

from ..components.scenario import project_program

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / "docs" / name).read_text() for name in ("gcp.md", "from-terraform.md", "gcp-destroy.md")}
SECRET_KEY = "mlflow:gcpOauthClientSecret"


def blocks(page: str, language: str) -> list[str]:
    """Return a page's code blocks of a language, without the indentation of an enclosing list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", PAGES[page], re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", code, flags=re.MULTILINE) for indent, code in found]


def settings_in(page: str) -> list[dict[str, Any]]:
    """Return the mlflow:gcp settings of each YAML block of a page that has them."""
    read = [cast("dict[str, Any]", yaml.safe_load(block)) for block in blocks(page, "yaml")]
    return [block["mlflow:gcp"] for block in read if "mlflow:gcp" in block]


def over(below: Any, above: Any) -> Any:
    """Return nested settings with others merged over them."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    first, second = cast("Mapping[str, Any]", below), cast("Mapping[str, Any]", above)
    return {**first, **{name: over(first.get(name), value) for name, value in second.items()}}


def stack_settings(stack: str) -> dict[str, Any]:
    """Return the settings of Pulumi.<stack>.yaml, as the program reads them."""
    config = read_stack(ROOT, stack).config
    return {"project": config["gcp:project"], "region": config["gcp:region"], **json.loads(config["mlflow:gcp"])}


def read(settings: Mapping[str, Any]) -> GcpMlflowSettings:
    """Validate settings merged over those of the development stack. Raises SettingsError."""
    merged = cast("dict[str, Any]", over(stack_settings("gcp-dev"), settings))
    client_in_secrets = "clientIdSecret" in settings.get("oauthClient", {})
    if client_in_secrets:
        del merged["oauthClient"]["clientId"]
    return GcpMlflowSettings.read(
        merged if client_in_secrets else {**merged, "oauth_client_secret": "GOCSPX-a-secret"}, "here"
    )


def graph(settings: Mapping[str, Any], stack: str = "gcp-dev") -> Graph:
    """Record the program with these settings; only the gcp: keys come from the stack file."""
    return _recorded(json.dumps(settings), stack)


@functools.cache
def _recorded(written: str, stack: str) -> Graph:
    settings = json.loads(written)
    config = {key: value for key, value in read_stack(ROOT, stack).config.items() if key.startswith("gcp:")}
    secret = {} if "clientIdSecret" in settings["oauthClient"] else {SECRET_KEY: "GOCSPX-a-secret"}
    return record(
        project_program,
        stack_name=stack,
        config={**config, **secret, "mlflow:gcp": written},
        secret_keys=[SECRET_KEY],
    )


def every_setting(
    model: type[ValidatedArgs] = GcpMlflowSettings, prefix: str = ""
) -> Iterator[tuple[str, type[ValidatedArgs], str]]:
    """Yield (dotted name in a stack's config, model of its group, field name)."""
    for name, field in model.model_fields.items():
        yield prefix + to_camel(name), model, name
        inner = nested_model(field.annotation)
        if inner is not None:
            yield from every_setting(inner, f"{prefix}{to_camel(name)}.")


SETTINGS = {dotted: (model, name) for dotted, model, name in every_setting()}
# A setting's name in the first or second column, its default, and production's default if it differs.
_DEFAULT = re.compile(
    r"^\| (?:[^|]*\| )?`([a-z]\w*(?:\.[a-z]\w*)*)`[^|]* \| `([^`]*)`(?:; `([^`]*)`)? \|", re.MULTILINE
)


def defaults_in(page: str) -> dict[str, tuple[str, str]]:
    """Return the defaults in a page's tables: (development, production) by setting."""
    found = _DEFAULT.findall(PAGES[page])
    return {name: (first, second or first) for name, first, second in found if name in SETTINGS}


def defaults(name: str) -> tuple[str, str]:
    """Return a setting's defaults in the code: (development, production)."""
    model, field = SETTINGS[name]
    usual = model.model_fields[field].get_default(call_default_factory=True)
    return str(usual), str(model.production_defaults.get(field, usual))
