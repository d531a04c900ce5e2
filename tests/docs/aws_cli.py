"""Commands of the AWS CLI in a text: each operation and option must exist."""

import re
from collections.abc import Iterable, Iterator

import botocore.session
from botocore import xform_name

# Options of the CLI itself.
GLOBAL = {"query", "output", "region", "profile"}


def calls(scripts: Iterable[str]) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Yield (service, operation, options) of each AWS CLI command in shell scripts."""
    for script in scripts:
        for command in re.split(r"[|;]|&&|\$\(|\bdo\b|\n(?!\s*--)", script.replace("\\\n", " ")):
            found = re.search(r"\baws ([a-z0-9-]+) ([a-z-]+)(.*)", command, re.DOTALL)
            # A waiter is no operation.
            if found and found[2] != "wait":
                yield found[1], found[2], frozenset(re.findall(r"\s--([a-z-]+)", found[3])) - GLOBAL


def check(found: Iterable[tuple[str, str, frozenset[str]]]) -> None:
    """Raise AssertionError for a command whose operation or option does not exist, or that lacks a required one."""
    session = botocore.session.Session()
    for service, operation, options in found:
        model = session.get_service_model(service)
        names = {xform_name(name, "-"): name for name in model.operation_names}
        assert operation in names, f"aws {service} {operation}"
        shape = model.operation_model(names[operation]).input_shape
        assert shape is not None
        takes = {xform_name(name, "-"): name for name in shape.members}
        assert options <= set(takes), f"aws {service} {operation}: {options - set(takes)}"
        required = {xform_name(name, "-") for name in shape.required_members}
        assert required <= options, f"aws {service} {operation}: {required - options}"
