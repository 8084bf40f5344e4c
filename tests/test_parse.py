"""Strict reading: every value is of its declared type, or named in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from mots_pretrained.errors import UserError
from mots_pretrained.parse import (
    check_name,
    from_dict,
    label_classes,
    parse_json,
    parse_labelled,
    parse_yaml,
    read_json,
    read_labelled,
)


@dataclass(frozen=True)
class Inner:
    size: int = 1


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["a", "b"] = "a"
    rate: float | None = None
    sizes: tuple[int, int] = (1, 2)
    names: tuple[str, ...] = ()
    inner: Inner = Inner()


def test_values_become_what_the_fields_declare():
    values = {"name": "x", "kind": "b", "rate": 1, "sizes": [3, 4], "names": ["p", "q", "r"]}
    found = from_dict(Outer, {**values, "inner": {"size": 5}}, "here")
    assert found == Outer("x", "b", 1.0, (3, 4), ("p", "q", "r"), Inner(5))
    assert isinstance(found.rate, float)
    assert from_dict(Outer, {"name": "x", "rate": None}, "here") == Outer("x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"other": 1}, "here: unknown field 'other'; allowed are name, kind, rate"),
        ({"name": 3}, "here: name must be str, not 3"),
        ({"kind": "c"}, "here: kind must be one of a, b, not 'c'"),
        ({"rate": "1"}, "here: rate must be float, not '1'"),
        ({"rate": True}, "here: rate must be float, not True"),
        ({"sizes": [1, 2, 3]}, "here: sizes must have 2 entries, not 3"),
        ({"sizes": [1, True]}, r"here: sizes\[1\] must be int, not True"),
        ({"names": "abc"}, "here: names must be a list, not 'abc'"),
        ({"inner": [1]}, r"here: inner must be an object, not \[1\]"),
        ({"inner": {"size": 0.5}}, "here: inner: size must be int, not 0.5"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(changes, message):
    with pytest.raises(UserError, match=message):
        from_dict(Outer, {"name": "x", **changes}, "here")


def test_a_missing_field_is_named():
    with pytest.raises(UserError, match=r"here: .*missing.*'name'"):
        from_dict(Outer, {}, "here")


@pytest.mark.parametrize("name", ["liver", "tumor/edema", "Niere (links)", "肝臓", "a" * 64])
def test_names_of_any_script_are_taken(name):
    check_name("a class", name)


@pytest.mark.parametrize(
    "name",
    ["", " a", "a ", "a" * 65, "../a", "/a", ".a", "a/.b", "a\\b", "a\nb", "\x1b[2J"],
)
def test_names_that_lead_elsewhere_or_steer_a_terminal_are_refused(name):
    with pytest.raises(UserError, match=r"a class: .* is not allowed as a name") as error:
        check_name("a class", name)
    assert str(error.value).isprintable()


def test_json_in_any_unicode_is_read_and_what_is_none_is_told(tmp_path):
    for encoding in ("utf-8", "utf-16", "utf-32"):
        assert parse_json('{"größe": 1}'.encode(encoding), "here") == {"größe": 1}
    for text in ("", "{", "[" * 100_000, "9" * 5000, b"\xff\xfe\x00"):
        with pytest.raises(UserError, match="here is not valid JSON"):
            parse_json(text, "here")
    (tmp_path / "a.json").write_text("{'a': 1}")
    with pytest.raises(UserError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")


def test_yaml_reads_plain_values_as_yaml_1_2_does():
    found = parse_yaml(b"rate: 1e-4\nbig: 2E3\nhalf: .5e1\nname: e1\nlist: [1, 2]\n", "here")
    assert found == {"rate": 1e-4, "big": 2000.0, "half": 5.0, "name": "e1", "list": [1, 2]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "'a' stands there twice"),
        ("a: &x [1]\nb: *x", "an alias, as in .name, is not read"),
        ("!!python/object/apply:os.mkdir [ran]", "could not determine a constructor"),
        ("a: [", "here is not valid YAML"),
        ("[" * 20_000, "here is not valid YAML"),
    ],
)
def test_yaml_that_runs_grows_or_contradicts_itself_is_refused(text, message):
    with pytest.raises(UserError, match=message) as error:
        parse_yaml(text.encode(), "here")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ({"background": 0, "organ": [1, 2], "tumour": 2}, {"organ": (1, 2), "tumour": (2,)}),
        ({"0": "background", "1": "a", "2": "b", "3": "a"}, {"a": (1, 3), "b": (2,)}),
        ({"background": 0, "1": 1, "2": "2", "c": 3.0}, {"1": (1,), "2": (2,), "c": (3,)}),
        ({"Background": [0], "organ": [0, 4, 4]}, {"organ": (4,)}),
        ({}, {}),
    ],
)
def test_names_of_label_values_in_either_version(labels, classes):
    assert label_classes(labels, "x.json") == classes


@pytest.mark.parametrize("value", ["one", [], -1, 1.5, True, None, {"a": 1}])
def test_what_is_no_label_value_is_named(value):
    with pytest.raises(UserError, match=r"x.json: the label 'liver': .* is no name with its"):
        label_classes({"liver": value}, "x.json")


def test_which_classes_cases_label_is_said_by_a_table_or_by_json(tmp_path):
    (tmp_path / "labelled.csv").write_text("case,liver,spleen\na,1,1\n\nb, 0,1\nc,0,0\n")
    told = {"a": ("liver", "spleen"), "b": ("spleen",), "c": ()}
    assert read_labelled(tmp_path / "labelled.csv") == told
    assert parse_labelled({case: list(names) for case, names in told.items()}, "x") == told
    with pytest.raises(UserError, match='"labelled" must be'):
        parse_labelled({"a": "liver"}, "x")
