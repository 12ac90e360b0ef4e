"""What the API server accepts as a label selector, written down a second time, and selectors to try it with.

Kubernetes: apimachinery pkg/util/validation/validation.go, as ASCII character by character instead of by patterns.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

_ALNUM = set(string.ascii_letters + string.digits)
_INNER = _ALNUM | set("-_.")
_LOWER = set(string.ascii_lowercase + string.digits)

Selector = Mapping[str, Any]


def is_part(text: str) -> bool:
    """A label's name, or a value that is not empty."""
    return 0 < len(text) <= 63 and set(text) <= _INNER and text[0] in _ALNUM and text[-1] in _ALNUM


def is_subdomain(text: str) -> bool:
    """The prefix of a key."""
    return 0 < len(text) <= 253 and all(
        label and set(label) <= _LOWER | {"-"} and label[0] != "-" and label[-1] != "-" for label in text.split(".")
    )


def is_key(text: str) -> bool:
    """A qualified name."""
    parts = text.split("/")
    match parts:
        case [name]:
            return is_part(name)
        case [prefix, name]:
            return is_subdomain(prefix) and is_part(name)
        case _:
            return False


def is_value(text: str) -> bool:
    """A label's value."""
    return text == "" or is_part(text)


def is_accepted(selector: Selector) -> bool:
    """Whether the API server can use the selector (metav1.LabelSelectorAsSelector)."""
    for key, value in selector.get("matchLabels", {}).items():
        if not (is_key(key) and is_value(value)):
            return False
    for one in selector.get("matchExpressions", []):
        values = one.get("values", [])
        fits = {"In": bool(values), "NotIn": bool(values), "Exists": not values, "DoesNotExist": not values}
        if not (is_key(one["key"]) and all(map(is_value, values)) and fits.get(one["operator"], False)):
            return False
    return True


KEYS = (
    "a",
    "A.b_c-d",
    "example.com/name",
    "a" * 63,
    f"{'a' * 61}.{'b' * 61}.{'c' * 61}.{'d' * 61}.com/{'n' * 63}",
    "9/9",
    "kubernetes.io/metadata.name",
    # none of these is a key
    "",
    "bad key!",
    "a" * 64,
    "-a",
    "a-",
    "a.",
    "_a",
    "/a",
    "a/",
    "/",
    "a/b/c",
    "Example.com/name",
    "exam_ple.com/name",
    "example..com/name",
    "-example.com/name",
    "example.com-/name",
    f"{'a.' * 127}/name",
    f"{'a' * 254}/name",
    "ключ",
    "a\n",
    "a b",
    "a:b",
    "ä.example/name",
)
VALUES = ("", "x", "X_y.z-0", "v" * 63, "v" * 64, "-v", "v-", "v.", "two words", "a/b", "wert!", "ß", "v\n", "1٣")
OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "in", "IN", "Equals", "", "Gt")

TABLE: tuple[Selector, ...] = (
    *({"matchLabels": {key: "x"}} for key in KEYS),
    *({"matchLabels": {"a": value}} for value in VALUES),
    *({"matchExpressions": [{"key": key, "operator": "Exists"}]} for key in KEYS),
    *(
        {"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", value]}]}
        for value in VALUES
        if value != "x"
    ),
    *(
        {"matchExpressions": [{"key": "a", "operator": operator, "values": list(values)}]}
        for operator in OPERATORS
        for values in ((), ("x",), ("x", "y"), ("",))
    ),
)
"""Every rule of a key, of a value, and of an operator with its values."""

_characters = st.sampled_from("aZ0-_./ !ß\n")
_texts = st.one_of(
    st.sampled_from(KEYS),
    st.sampled_from(VALUES),
    st.text(_characters, max_size=6),
    st.text(_characters, max_size=70),
)
SELECTORS: st.SearchStrategy[Selector] = st.fixed_dictionaries(
    {},
    optional={
        "matchLabels": st.dictionaries(_texts, _texts, max_size=3),
        "matchExpressions": st.lists(
            st.fixed_dictionaries(
                {
                    "key": _texts,
                    "operator": st.one_of(st.sampled_from(OPERATORS), st.text(max_size=4)),
                    "values": st.lists(_texts, max_size=3, unique=True),
                }
            ),
            max_size=3,
        ),
    },
)
