import json
from pathlib import Path

import pytest

from preview.stack_files import Stack, StackError, read_stack


def write_and_read_stack(folder: Path, text: str, project: str = "name: demo\n") -> Stack:
    (folder / "Pulumi.yaml").write_text(project)
    (folder / "Pulumi.dev.yaml").write_text(text)
    return read_stack(folder, "dev")


def test_values_are_strings_and_objects_are_json(tmp_path: Path) -> None:
    stack = write_and_read_stack(
        tmp_path,
        """
config:
  aws:region: eu-west-1
  size: 3
  on: true
  mlflow:aws:
    environment: production
    minTasks: 2
    versions: [3.0, 3.1]
""",
    )
    assert stack.project == "demo"
    assert {key: value for key, value in stack.config.items() if key != "mlflow:aws"} == {
        "aws:region": "eu-west-1",
        "demo:size": "3",
        "demo:on": "true",
    }
    # Pulumi's JSON converts 3.0 to 3.
    assert json.loads(stack.config["mlflow:aws"]) == {"environment": "production", "minTasks": 2, "versions": [3, 3.1]}
    assert stack.secret_keys == ()


@pytest.mark.parametrize("text", ["yes", "no", "on", "22:30", "2026-01-01", "1_000x", "0123a"])
def test_yaml_1_1_special_value_is_a_string(text: str, tmp_path: Path) -> None:
    assert write_and_read_stack(tmp_path, f"config:\n  a:b:\n    c: {text}\n").config == {
        "a:b": json.dumps({"c": text})
    }


@pytest.mark.parametrize(("text", "value"), [("TRUE", True), ("1e3", 1000), ("-4", -4), ("0x10", 16), ("~", None)])
def test_typed_value_is_converted(text: str, value: object, tmp_path: Path) -> None:
    assert json.loads(write_and_read_stack(tmp_path, f"config:\n  a:b:\n    c: {text}\n").config["a:b"]) == {"c": value}


def test_secure_value_becomes_a_placeholder_and_a_secret_key(tmp_path: Path) -> None:
    stack = write_and_read_stack(
        tmp_path,
        """
encryptionsalt: v1:abc
config:
  a:b: {secure: v1:xyz}
  a:c: {d: [{secure: v1:xyz}]}
  a:e: plain
""",
    )
    assert stack.config == {"a:b": "[secret]", "a:c": '{"d": ["[secret]"]}', "a:e": "plain"}
    assert stack.secret_keys == ("a:b", "a:c")
    assert "xyz" not in repr(stack)


def test_project_values_are_defaults_for_the_stack(tmp_path: Path) -> None:
    project = "name: demo\nconfig:\n  aws:region: {value: eu-west-1}\n  size: {type: integer, default: 3}\n  a:b: c\n"
    stack = write_and_read_stack(tmp_path, "config:\n  demo:size: 4\n", project)
    assert stack.config == {"aws:region": "eu-west-1", "demo:size": "4", "a:b": "c"}


def test_empty_stack_file_has_no_config(tmp_path: Path) -> None:
    assert write_and_read_stack(tmp_path, "").config == {}


def test_missing_stack_file_lists_existing_files(tmp_path: Path) -> None:
    write_and_read_stack(tmp_path, "")
    (tmp_path / "Pulumi.prod.yaml").touch()
    with pytest.raises(StackError, match=r"Pulumi\.x\.yaml does not exist; .*: Pulumi\.dev\.yaml, Pulumi\.prod"):
        read_stack(tmp_path, "x")


@pytest.mark.parametrize("text", ["config: [", "- a", "config: text", "config:\n  - a", "a: \x00"])
def test_invalid_file_is_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"Pulumi\.dev\.yaml"):
        write_and_read_stack(tmp_path, text)


def test_missing_project_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"Pulumi\.yaml cannot be read: No such file"):
        read_stack(tmp_path, "dev")
