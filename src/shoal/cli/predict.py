"""`shoal predict RUN INPUT...`: what a trained network says of new inputs; of a text, how it goes on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from shoal.assembly import import_modules
from shoal.assembly.prediction import predict
from shoal.assembly.sampling import Sampling, sample
from shoal.cli import output
from shoal.errors import InputError
from shoal.pages.formats import clean
from shoal.store import RunFolder, record, resolve


@dataclass(frozen=True)
class Choice:
    """What the options say; None where nothing was said."""

    top: int | None
    tokens: int | None
    temperature: float | None
    seed: int | None
    device: str
    weights: str | None = None


def run(name: str, inputs: Sequence[str], choice: Choice, *, runs: Path, modules: list[str], json: bool) -> int:
    """Print the predictions; return the exit code."""
    import_modules(modules)
    folder = resolve(runs, name)
    facts: dict[str, Any] = record.read(folder).get("data") or {}
    if (facts.get("encoding") or {}).get("kind") == "text":
        _sample(folder, " ".join(inputs), choice, json=json)
        return 0
    _refuse_settings_of_text(folder, choice)
    if not inputs:
        raise InputError("expected one INPUT at least: files, or a folder of files.")
    found = predict(folder, list(inputs), device=choice.device, weights=choice.weights)
    rows = found.rows(top=choice.top or 3)
    for note in found.notes:
        output.note(note)
    if json:
        output.results(rows)
    else:
        output.lines(_line(row, width=max(len(clean(each["input"])) for each in rows)) for row in rows)
    return 0


def _sample(folder: RunFolder, prompt: str, choice: Choice, *, json: bool) -> None:
    usual = Sampling()
    sampling = Sampling(
        tokens=usual.tokens if choice.tokens is None else choice.tokens,
        temperature=usual.temperature if choice.temperature is None else choice.temperature,
        top=choice.top,
        seed=choice.seed or 0,
    )
    pieces = sample(folder, prompt, sampling, device=choice.device, weights=choice.weights)
    if json:
        output.results([{"input": prompt, "predicted": "".join(pieces)}])
        return
    sys.stdout.write(clean(prompt, keep="\n\t"))
    for piece in pieces:
        sys.stdout.write(clean(piece, keep="\n\t"))
        sys.stdout.flush()
    sys.stdout.write("\n")


def _refuse_settings_of_text(folder: RunFolder, choice: Choice) -> None:
    for option in ("tokens", "temperature", "seed"):
        if getattr(choice, option) is not None:
            raise InputError(f"--{option} is for runs that were trained on text, and {folder.label} was not.")


def _line(row: dict[str, Any], *, width: int) -> str:
    found: Any = row["predicted"]
    chances: dict[str, float] | None = row.get("probabilities")
    if chances is None:
        told = _values(found)
    elif isinstance(found, list):
        told = ", ".join(f"{label} {chances[label]:.3f}" for label in cast("list[str]", found)) or "none"
    else:
        told = "  ".join(f"{label} {chance:.3f}" for label, chance in chances.items())
    return f"{clean(row['input']):<{width}}  {clean(told)}"


def _values(found: Any) -> str:
    if isinstance(found, list):
        return "  ".join(map(_values, cast("list[Any]", found)))
    if isinstance(found, dict):
        return "  ".join(f"{name} {_values(value)}" for name, value in cast("dict[str, Any]", found).items())
    return f"{found:.6g}"
