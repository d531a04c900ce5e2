"""A graph as a text that people review: an entry for each resource, in the program's order.

Ids are the names of whose they are, JSON and user data are shown as what they hold, the tags that all have are left
out, and so are hashes of content that has nothing to do with the deployment.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, cast

import yaml

from preview.graph import Graph, Resource
from preview.names import class_name

_ID = re.compile(r"[a-z]+-0[0-9a-f]{16}")
# A test of its own holds them.
_OF_ALL = ("Project", "Stack", "Component")
# An image's name and its tag follow from its files, the tag's end from the time.
_TAG = re.compile(r":[0-9a-f]{16}-\d{8}T\d{6}Z")
_IMAGE = re.compile(r"(?<=docker-build\.Image )(.+)-[0-9a-f]{8}")
Entry = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as such, and no references to what was said before."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


cast("Any", _Dumper).add_representer(str, _text)


def written(entry: Mapping[str, Any]) -> str:
    return yaml.dump(entry, Dumper=_Dumper, sort_keys=False, width=118, allow_unicode=True)


def whole(graph: Graph) -> Entry:
    """Every resource by type and name, the calls, and the outputs."""
    names = {one.urn: _key(one) for one in graph.resources}
    ids = {one.id: f"(id of {_key(one)})" for one in graph.resources if _ID.fullmatch(one.id)}
    assert len(set(names.values())) == len(names), "two resources would have one name in a snapshot"
    return {
        "outputs": _readable(graph.outputs, ids),
        "calls": [f"{call.token.rpartition(':')[2]} {json.dumps(call.args)}" for call in _calls(graph)],
        "resources": {names[one.urn]: _entry(one, names, ids) for one in graph.resources},
    }


def _calls(graph: Graph) -> list[Any]:
    return sorted(graph.calls, key=lambda call: (call.token, json.dumps(call.args)))


def _key(one: Resource) -> str:
    return _IMAGE.sub(r"\1-(content)", f"{class_name(one)} {one.name}")


def _entry(one: Resource, names: Mapping[str, str], ids: Mapping[str, str]) -> Entry:
    options: Entry = {
        "only read": one.read,
        "protect": one.protect,
        "retain on delete": one.retain_on_delete,
        "ignore changes": list(one.ignore_changes),
        "replace on changes": list(one.replace_on_changes),
        "delete before replace": one.delete_before_replace,
        "deleted with": names.get(one.deleted_with, ""),
        "replace with": [names[urn] for urn in one.replace_with],
        "aliases": list(one.aliases),
        "timeouts": one.timeouts,
        "import": one.import_id,
        "secret outputs": list(one.secret_outputs),
        "hide diffs": list(one.hide_diffs),
        "provider": one.provider.rpartition("::")[0].rpartition("::")[2],
    }
    entry: Entry = {
        "in": names.get(one.parent, "the stack"),
        "depends on": [names[urn] for urn in one.dependencies],
        **options,
        "inputs": _readable(one.inputs, ids),
        "outputs": None if one.custom else sorted(one.outputs),
    }
    return {name: value for name, value in entry.items() if value not in (False, None, "", [], {})}


def _readable(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _named(name, inner, ids) for name, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        found = [_readable(one, ids) for one in cast("list[Any]", value)]
        if found and all(isinstance(one, dict) and set(cast("Entry", one)) == {"name", "value"} for one in found):
            return {one["name"]: one["value"] for one in found}
        return found
    if not isinstance(value, str):
        return value
    if value.startswith(("{", "[{")):
        try:
            return _readable(json.loads(value), ids)
        except ValueError:
            return value
    return ids.get(value, _TAG.sub(":(content)-(time)", value))


def _named(name: str, value: Any, ids: Mapping[str, str]) -> Any:
    if name == "userData":
        return _user_data(value)
    if name == "tags" and isinstance(value, dict):
        return {key: one for key, one in cast("dict[str, Any]", value).items() if key not in _OF_ALL}
    return _readable(value, ids)


def _user_data(value: Any) -> Any:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (TypeError, ValueError, binascii.Error):
        return value


def difference(base: Mapping[str, Any], other: Mapping[str, Any]) -> Entry:
    """What ``other`` has beyond ``base``, what it has not, and what is different in both, level by level."""
    found: Entry = {}
    for name, value in other.items():
        if name not in base:
            found[f"+ {name}"] = value
        elif isinstance(value, dict) and isinstance(base[name], dict):
            inner = difference(cast("Entry", base[name]), cast("Entry", value))
            if inner:
                found[name] = inner
        elif isinstance(value, list) and isinstance(base[name], list):
            inner = _lists(cast("list[Any]", base[name]), cast("list[Any]", value))
            if inner:
                found[name] = inner
        elif value != base[name]:
            found[name] = {"was": base[name], "is": value}
    gone = [name for name in base if name not in other]
    return {**found, **({"- not here": gone} if gone else {})}


def _lists(base: list[Any], other: list[Any]) -> Entry:
    if base == other:
        return {}
    if len(base) == len(other) and all(isinstance(one, dict) for one in [*base, *other]):
        pairs = enumerate(zip(base, other, strict=True), start=1)
        return {f"number {place}": difference(was, now) for place, (was, now) in pairs if was != now}
    more, less = [one for one in other if one not in base], [one for one in base if one not in other]
    found = {"+": more, "-": less} if more or less else {"was": base, "is": other}
    return {name: value for name, value in found.items() if value}
