"""CEL as the API server evaluates it in match conditions and in the rules of a definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cel_expr_python import cel


def holds(expression: str, variables: Mapping[str, Any]) -> bool:
    """Evaluate an expression over plain values. What it says must be a boolean."""
    environment = cel.NewEnv(variables=dict.fromkeys(variables, cel.Type.DYN))
    result = environment.compile(expression).eval(data=dict(variables))
    assert result.type() == cel.Type.BOOL, f"{expression}: {result.value()}"
    return bool(result.value())
