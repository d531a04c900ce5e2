"""A graph as YAML for review: an entry for each resource, in the program's order.

An id is shown as its resource's name, and JSON and user data are decoded. Tags that every resource has, and hashes
that depend on the build context only, are left out.
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
# test_invariants.py checks these tags.
_COMMON_TAGS = ("Project", "Stack", "Component")
# An image's name and tag contain a hash of its build context, and the tag ends with the build time.
_TAG = re.compile(r":[0-9a-f]{16}-\d{8}T\d{6}Z")
_IMAGE = re.compile(r"(?<=docker-build\.Image )(.+)-[0-9a-f]{8}")
Entry = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    """Writes multi-line strings as blocks, and repeated values in full, without anchors and aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


cast("Any", _Dumper).add_representer(str, _text)


def to_yaml(entry: Mapping[str, Any]) -> str:
    return yaml.dump(entry, Dumper=_Dumper, sort_keys=False, width=118, allow_unicode=True)


def snapshot_of(graph: Graph) -> Entry:
    """A graph's resources by type and name, its calls, and its outputs."""
    names = {resource.urn: _key(resource) for resource in graph.resources}
    ids = {resource.id: f"(id of {_key(resource)})" for resource in graph.resources if _ID.fullmatch(resource.id)}
    assert len(set(names.values())) == len(names), "two resources have the same name in the snapshot"
    return {
        "outputs": _readable(graph.outputs, ids),
        "calls": [f"{call.token.rpartition(':')[2]} {json.dumps(call.args)}" for call in _calls(graph)],
        "resources": {names[resource.urn]: _entry(resource, names, ids) for resource in graph.resources},
    }


def _calls(graph: Graph) -> list[Any]:
    return sorted(graph.calls, key=lambda call: (call.token, json.dumps(call.args)))


def _key(resource: Resource) -> str:
    return _IMAGE.sub(r"\1-(content)", f"{class_name(resource)} {resource.name}")


def _entry(resource: Resource, names: Mapping[str, str], ids: Mapping[str, str]) -> Entry:
    options: Entry = {
        "only read": resource.read,
        "protect": resource.protect,
        "retain on delete": resource.retain_on_delete,
        "ignore changes": list(resource.ignore_changes),
        "replace on changes": list(resource.replace_on_changes),
        "delete before replace": resource.delete_before_replace,
        "deleted with": names.get(resource.deleted_with, ""),
        "replace with": [names[urn] for urn in resource.replace_with],
        "aliases": list(resource.aliases),
        "timeouts": resource.timeouts,
        "import": resource.import_id,
        "secret outputs": list(resource.secret_outputs),
        "hide diffs": list(resource.hide_diffs),
        "provider": resource.provider.rpartition("::")[0].rpartition("::")[2],
    }
    entry: Entry = {
        "in": names.get(resource.parent, "the stack"),
        "depends on": [names[urn] for urn in resource.dependencies],
        **options,
        "inputs": _readable(resource.inputs, ids),
        "outputs": None if resource.custom else sorted(resource.outputs),
    }
    return {name: value for name, value in entry.items() if value not in (False, None, "", [], {})}


def _readable(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _readable_property(name, inner, ids) for name, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        items = [_readable(item, ids) for item in cast("list[Any]", value)]
        if items and all(isinstance(item, dict) and set(cast("Entry", item)) == {"name", "value"} for item in items):
            return {item["name"]: item["value"] for item in items}
        return items
    if not isinstance(value, str):
        return value
    if value.startswith(("{", "[{")):
        try:
            return _readable(json.loads(value), ids)
        except ValueError:
            return value
    return ids.get(value, _TAG.sub(":(content)-(time)", value))


def _readable_property(name: str, value: Any, ids: Mapping[str, str]) -> Any:
    if name == "userData":
        return _user_data(value)
    if name == "tags" and isinstance(value, dict):
        return {key: tag for key, tag in cast("dict[str, Any]", value).items() if key not in _COMMON_TAGS}
    return _readable(value, ids)


def _user_data(value: Any) -> Any:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (TypeError, ValueError, binascii.Error):
        return value


def difference(base: Mapping[str, Any], other: Mapping[str, Any]) -> Entry:
    """What ``other`` has in addition to ``base``, what it lacks, and which values differ, level by level."""
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
    missing = [name for name in base if name not in other]
    return {**found, **({"- not here": missing} if missing else {})}


def _lists(base: list[Any], other: list[Any]) -> Entry:
    if base == other:
        return {}
    if len(base) == len(other) and all(isinstance(item, dict) for item in [*base, *other]):
        pairs = enumerate(zip(base, other, strict=True), start=1)
        return {f"number {index}": difference(was, now) for index, (was, now) in pairs if was != now}
    added, removed = [item for item in other if item not in base], [item for item in base if item not in other]
    found = {"+": added, "-": removed} if added or removed else {"was": base, "is": other}
    return {name: value for name, value in found.items() if value}
