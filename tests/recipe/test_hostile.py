"""Recipes made to do harm: refused as what they are, nothing is imported or looked up, and little time is spent."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.limited import limited, needs_limits

from shoal.errors import InputError
from shoal.recipe import parse
from shoal.recipe.compose import apply, compose

SECONDS = 20.0
"""Far more than any of these may take: what is exponential takes years."""

Write = Callable[[str, str], Path]


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that could be imported, and leaves a trace where it is."""
    trace = tmp_path / "trace"
    (tmp_path / "code" / "trap").mkdir(parents=True)
    (tmp_path / "code" / "trap" / "__init__.py").write_text(f"open({str(trace)!r}, 'w')\n")
    (tmp_path / "code" / "trap" / "other.yaml").write_text("seed: 3\n")
    monkeypatch.syspath_prepend(tmp_path / "code")
    return trace


@pytest.fixture
def presets(tmp_path: Path) -> Path:
    (tmp_path / "presets").mkdir()
    return tmp_path / "presets"


def laughs(depth: int, *, merge: bool = False) -> str:
    """Return aliases of aliases: each line stands for ten of the one before."""
    if merge:
        lines = ["a0: &a0 {x0: 1, x1: 1}"]
        lines += [f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(10))}}}" for n in range(1, depth)]
    else:
        lines = ["a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, depth)]
    return "\n".join(lines)


PRESETS: dict[str, tuple[str, str]] = {
    "a target": ("model: {_target_: trap.run}", r"unknown key model\._target_: a recipe names no code to import"),
    "a target at the top": ("_target_: trap.run", "unknown key _target_: a recipe names no code to import"),
    "a class": ("model: {__class__: trap.Net}", "unknown key model.__class__"),
    "a reduction": ("__reduce__: [os.system, [ls]]", "unknown key __reduce__"),
    "a module": ("modules: [trap]", "unknown key modules"),
    "a path of names": ("model: trap.Net", r"model\.name: unknown model 'trap\.Net'"),
    "an object": ("seed: !!python/object:trap.Net {}", "this is no plain YAML"),
    "a call": ("seed: !!python/object/apply:os.system [ls]", "this is no plain YAML"),
    "a new object": ("seed: !!python/object/new:os.system [ls]", "this is no plain YAML"),
    "a name": ("seed: !!python/name:os.system", "this is no plain YAML"),
    "an import": ("seed: !!python/module:trap", "this is no plain YAML"),
    "a tag": ("seed: !trap 3", "this is no plain YAML"),
    "a tuple": ("seed: !!python/tuple [1]", "this is no plain YAML"),
    "the environment": ("name: ${oc.env:HOME}", r"name = '\$\{oc\.env:HOME\}': nothing is looked up"),
    "the environment in a list": ("task: {class_weights: ['1${oc.env:HOME}']}", r"task\.class_weights\[0\] = "),
    "the environment in a group": ("optimizer: {name: sgd, lr: '${oc.env:HOME}'}", r"optimizer\.lr = "),
    "Hydra's own values": ("name: ${hydra:runtime.cwd}", "nothing is looked up"),
    "a decoder": ("seed: ${oc.decode:3}", "nothing is looked up"),
    "another key": ("seed: ${batch_size}", "nothing is looked up"),
    "values of values": ("a: ${b}${b}\nb: ${c}${c}\nc: ${d}${d}\nd: xxxx", "nothing is looked up"),
    "Hydra's search path": ("hydra: {searchpath: ['pkg://trap']}\ndefaults: [other]", "unknown key hydra"),
    "Hydra's environment": ("hydra: {job: {env_copy: [HOME, NONE]}}", "unknown key hydra"),
    "a package for Hydra": ("# @package hydra\nsearchpath: ['pkg://trap']", r"begins with a package for Hydra"),
    "a file above": ("defaults: [../outside]", "expected a list such as"),
    "a file at a place": ("defaults: [/etc/hostname]", "expected a list such as"),
    "a group above": ("defaults: [optimizer: ../../outside]", "expected a list such as"),
    "a package among the defaults": ("defaults: ['pkg://trap/other']", "expected a list such as"),
    "another place": ("defaults: [optimizer@seed: outside]", "expected a list such as"),
    "a billion laughs": (laughs(30), r"line 2, .*not taken from elsewhere by an alias"),
    "a billion keys": (laughs(30, merge=True), r"line 2, .*not taken from elsewhere by an alias"),
    "a merge": ("a: &a {seed: 1}\n<<: *a", "by an alias"),
    "a circle": ("a: &a [*a]", "by an alias"),
    "depth": ("a: " + "[" * 10_000 + "]" * 10_000, "nested too deeply"),
    "depth of keys": ("a: " + "{a: " * 10_000 + "1" + "}" * 10_000, "nested too deeply"),
    "depth of lines": ("\n".join(" " * n + "a:" for n in range(900)), "nested too deeply|unknown key a"),
    "too much of it": ("a: [" + "0, " * 400_000 + "0]", "it has more than 1,000,000 characters"),
    "a number that is none": ("optimizer: {lr: .nan}", r"optimizer\.lr = nan: expected a finite number"),
    "a number without end": ("optimizer: {lr: .inf}", r"optimizer\.lr = inf: expected a finite number"),
    "a number too large": ("optimizer: {lr: 1e999}", r"optimizer\.lr = inf: expected a finite number"),
    "a number of many digits": ("seed: " + "9" * 5_000, "this is no plain YAML"),
    "many digits in base 60": ("seed: 1" + ":59" * 3_000, "."),
    "a key twice": ("seed: 1\nseed: 2", "the key seed is given twice"),
    "a key twice, as a number": ("1: 1\n1: 2", "."),
    "a key that is a list": ("? [a]\n: 1", "."),
    "a key that is nothing": ("null: 1", "."),
    "a date": ("seed: 2001-01-01", "."),
    "bytes": ("name: !!binary aGk=", "."),
    "a set": ("name: !!set {a, b}", "."),
    "what is missing": ("seed: ???", "seed = '\\?\\?\\?': expected a whole number"),
}


@needs_limits
@pytest.mark.parametrize("kind", PRESETS)
def test_a_preset_that_is_more_than_plain_values_is_refused(
    kind: str, tmp_path: Path, presets: Path, trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, message = PRESETS[kind]
    monkeypatch.setenv("HOME", "/the/home/of/somebody")
    compose("digits")  # what Hydra imports, it imports now
    (tmp_path / "outside.yaml").write_text("seed: 3\n")
    (presets / "mine.yaml").write_text(text)
    began = time.monotonic()
    outcome = limited(lambda: compose("mine", config_dir=presets))
    assert time.monotonic() - began < SECONDS
    assert outcome.error == "RecipeError", outcome
    with pytest.raises(InputError, match=message):
        raise InputError(outcome.message)
    assert "somebody" not in outcome.message
    assert len(outcome.message) < 2_000
    assert outcome.imported == []
    assert not trap.exists()


@needs_limits
def test_presets_that_name_one_another_many_times_are_not_all_read(presets: Path) -> None:
    for number in range(40):
        (presets / f"p{number}.yaml").write_text(f"defaults: [p{number + 1}, p{number + 1}]\n")
    (presets / "p40.yaml").write_text("seed: 1\n")
    for number in range(500):
        (presets / f"q{number}.yaml").write_text(f"defaults: [q{number + 1}]\n")
    (presets / "q500.yaml").write_text("seed: 1\n")
    for name in ("p0", "q0"):
        began = time.monotonic()
        outcome = limited(lambda name=name: compose(name, config_dir=presets))
        assert time.monotonic() - began < SECONDS
        assert (outcome.error, "extends more than 100 files" in outcome.message) == ("RecipeError", True), outcome


WORDS: dict[str, str] = {
    "a target": "model._target_=trap.run",
    "a target in a mapping": "model={_target_: trap.run}",
    "a class": "model.__class__=trap.Net",
    "a path of names": "model=trap.Net",
    "an object": "seed=!!python/object:trap.Net",
    "the environment": "name=${oc.env:HOME}",
    "the environment for a number": "optimizer.lr=${oc.env:HOME}",
    "Hydra's own values": "batch_size=${hydra:runtime.cwd}",
    "Hydra's search path": "hydra.searchpath=[pkg://trap]",
    "depth of a list": "seed=" + "[" * 10_000 + "]" * 10_000,
    "depth of a mapping": "seed=" + "{a:" * 2_000 + "1" + "}" * 2_000,
    "depth of a key": ".".join(["a"] * 10_000) + "=1",
    "a number that is none": "optimizer.lr=nan",
    "a number without end": "optimizer.lr=-inf",
    "a function": "seed=extend_list(1)",
    "many of them": "seed=range(1,100000000000)",
    "a file above": "optimizer=../outside",
    "a file at a place": "optimizer=/etc/hostname",
    "a NUL": "optimizer=\0",
    "a long name": "optimizer=" + "x" * 100_000,
}


@needs_limits
@pytest.mark.parametrize("kind", WORDS)
def test_a_word_that_is_more_than_a_value_is_refused(
    kind: str, tmp_path: Path, presets: Path, trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/the/home/of/somebody")
    compose("digits", ["seed=1"])  # what Hydra imports, it imports now
    (tmp_path / "outside.yaml").write_text("name: sgd\n")
    (presets / "optimizer").mkdir()
    (presets / "outside.yaml").write_text("name: sgd\n")
    began = time.monotonic()
    outcome = limited(lambda: compose("digits", [WORDS[kind]], config_dir=presets))
    assert time.monotonic() - began < SECONDS
    assert outcome.error == "RecipeError", outcome
    assert "somebody" not in outcome.message
    assert outcome.imported == []
    assert not trap.exists()


def test_what_stands_in_a_word_is_not_looked_up_where_text_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/the/home/of/somebody")
    assert compose("mnist_cnn", ["dataset.path=${oc.env:HOME}"]).dataset.path == "${oc.env:HOME}"


def test_a_preset_that_cannot_be_read_is_named(presets: Path) -> None:
    (presets / "mine.yaml").mkdir()
    with pytest.raises(InputError, match=r"mine\.yaml: cannot be read: Is a directory"):
        compose("mine", config_dir=presets)


@pytest.mark.parametrize("folder", ["nul\0", "~nobody-of-this-name", "x" * 300])
def test_a_folder_of_presets_that_can_be_none_is_refused(folder: str) -> None:
    with pytest.raises(InputError):
        compose("digits", config_dir=Path(folder))


@pytest.mark.parametrize("name", ["../mine", "/etc/hostname", "mine/../mine", "nul\0", "x" * 300, "", "pkg://trap"])
def test_a_preset_is_named_not_found_by_a_path(name: str, presets: Path) -> None:
    (presets.parent / "mine.yaml").write_text("seed: 1\n")
    with pytest.raises(InputError, match="unknown preset"):
        compose(name, config_dir=presets)


KEYS = [
    "_target_",
    "__class__",
    "hydra",
    "defaults",
    "_self_",
    "name",
    "model",
    "optimizer",
    "lr",
    "seed",
    "a.b",
    "",
    "\0",
]
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.binary(max_size=4)
    | st.text(max_size=8)
    | st.sampled_from(["${oc.env:HOME}", "${seed}", "os.system", "sgd", "???", "../x", "!!python/name:os.system"])
)
NESTED = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=60)
@given(data=st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4) | st.integers(), NESTED, max_size=4))
def test_nothing_but_a_refusal_comes_of_nested_values(
    data: dict[Any, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same values as a mapping from Python, as words, and as a preset."""
    before = set(sys.modules)
    with contextlib.suppress(InputError):
        parse(data)
    with contextlib.suppress(InputError):
        parse(apply({}, [(str(key), value) for key, value in data.items()]))
    with contextlib.suppress(InputError):
        compose("digits", [f"{key}={value}" for key, value in data.items()])
    folder = tmp_path_factory.mktemp("presets")
    (folder / "mine.yaml").write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    with contextlib.suppress(InputError):
        compose("mine", config_dir=folder)
    assert {name for name in set(sys.modules) - before if name.partition(".")[0] not in ("hydra", "omegaconf")} == set()


@given(text=st.text(max_size=40), before=st.sampled_from(["seed: ", "", "model: {", "defaults: ", "- "]))
@settings(max_examples=60)
def test_nothing_but_a_refusal_comes_of_any_text(
    text: str, before: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("presets")
    (folder / "mine.yaml").write_bytes((before + text).encode("utf-8", "surrogatepass"))
    with contextlib.suppress(InputError):
        compose("mine", config_dir=folder)
