"""What is frozen of identity: the signatures of some recipes, and the identity value of every field.

    python -m tests.recipe.golden           adds what is new: a field, a preset, a variation
    python -m tests.recipe.golden --all     writes everything anew; only before the first release

After the first release nothing that is in the two files may ever change: every run that was trained is found by its
signature. A test that fails here is right; the change to the recipe is wrong. A new field gets the identity value
that stands for the old behaviour, and old signatures stay as they are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from shoal.recipe import parse, signature
from shoal.recipe.compose import compose, presets
from shoal.recipe.fields import ALWAYS, NEVER, Part, Settings, marks
from shoal.recipe.schema import Recipe
from shoal.recipe.tables import TABLES

FOLDER = Path(__file__).parents[1] / "golden"
SIGNATURES = FOLDER / "signatures.json"
IDENTITY_VALUES = FOLDER / "identity_values.json"
DIGESTS = {"dataset": "0123456789abcdef" * 4}

VARIATIONS: dict[str, dict[str, Any]] = {
    "nothing said": {},
    "mlp": {"model": {"name": "mlp", "width": 64, "depth": 2, "norm": "layer", "activation": "gelu"}},
    "dropout": {"model": {"name": "convnet", "dropout": 0.25}},
    "regression": {"task": {"name": "regression", "loss": "huber", "delta": 0.5}, "model": "mlp"},
    "class weights": {"task": {"name": "classification", "class_weights": [1, 2.5, 0.1]}},
    "balanced": {"task": {"name": "classification", "class_weights": "balanced"}},
    "adamw": {"optimizer": {"name": "adamw", "lr": 1e-4, "beta2": 0.95, "weight_decay": 0.1}},
    "nesterov": {"optimizer": {"name": "sgd", "nesterov": True, "decay_biases_and_norms": True}},
    "schedules": {"schedules": {"lr": {"name": "cosine", "warmup_steps": 10, "final": 0.01}, "momentum": "cosine"}},
    "drop path": {"model": {"name": "resnet", "drop_path": 0.1}, "regularise": {"flip": True, "translate": 4}},
    "steps": {"budget": {"steps": 1000}, "evaluate": {"every": 250}},
    "best and stop": {"best": {"metric": "valid.accuracy"}, "early_stop": {"metric": "valid.accuracy", "patience": 3}},
    "data": {"dataset": {"name": "arrays", "valid": 0.2, "drop_last": False, "normalise": False}, "batch_size": 7},
    "external": {
        "model": {"name": "external", "source": "lab.net"},
        "task": {"name": "external", "source": "lab.loss"},
    },
}


def signatures() -> dict[str, str]:
    """Return the signature of every preset and variation."""
    found = {f"preset {name}": signature(compose(name), DIGESTS) for name in presets()}
    found |= {name: signature(parse(data), DIGESTS) for name, data in VARIATIONS.items()}
    return found | {"no digests": signature(parse({}))}


def identity_values() -> dict[str, Any]:
    """Return the identity value of every field, by key: those of entries as `optimizer.sgd.momentum`."""
    found = dict(_values(Recipe, ""))
    for kind, table in TABLES.items():
        for name, cls in table.items():
            if cls.__module__.startswith("shoal.recipe."):
                found |= dict(_values(cls, f"{kind}.{name}."))
    return found


def _values(cls: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, field in cls.model_fields.items():
        if name == "name" and issubclass(cls, Part):
            continue
        value = marks(field).identity
        yield prefix + name, str(value) if value in (ALWAYS, NEVER) else value
        if isinstance(field.default, Settings) and not isinstance(field.default, Part):
            yield from _values(type(field.default), f"{prefix}{name}.")


def frozen(file: Path) -> dict[str, Any]:
    """Return what a golden file holds."""
    return json.loads(file.read_text()) if file.exists() else {}


def main() -> None:
    """Write the golden files."""
    parser = argparse.ArgumentParser(prog="python -m tests.recipe.golden", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--all", action="store_true", help="write everything anew; only before the first release")
    anew: bool = parser.parse_args().all
    FOLDER.mkdir(exist_ok=True)
    for file, values in ((SIGNATURES, signatures()), (IDENTITY_VALUES, identity_values())):
        kept = {} if anew else frozen(file)
        file.write_text(json.dumps(values | kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
