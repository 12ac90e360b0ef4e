"""The schemas of the shipped CustomResourceDefinitions, applied offline as the API server applies them.

They are those of `manifests/crds`, as `allocator.shipped` finds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import yaml

from allocator.core.listing import cut
from allocator.objects.document import Document, Problem
from allocator.objects.metadata import NameForm, metadata_problems
from allocator.offline.builtin_schemas import BUILTIN, OBJECT_META
from allocator.shipped import MANIFESTS

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

Schema = Mapping[str, Any]

_SHOWN_CHARACTERS = 300
_INTEGER_FORMATS = {"int32": 31, "int64": 63}


@dataclass(frozen=True, slots=True)
class Checked:
    """What a schema says of a document: `content` is what is stored if there are no `problems`."""

    content: Document
    problems: tuple[Problem, ...] = ()
    unknown: tuple[Problem, ...] = ()
    """Fields the schema has no place for; the API server drops them."""


class Kind:
    """One kind in one version, with its schema."""

    def __init__(
        self,
        group: str,
        version: str,
        kind: str,
        *,
        namespaced: bool,
        schema: Schema,
        name_form: NameForm = NameForm.SUBDOMAIN,
    ) -> None:
        self.group = group
        self.version = version
        self.kind = kind
        self.namespaced = namespaced
        self._name_form = name_form
        self._schema = {
            **schema,
            "required": [*schema.get("required", ()), "metadata"],
            "properties": {**schema.get("properties", {}), "metadata": OBJECT_META},
        }

    @property
    def api_version(self) -> str:
        """`group/version` as documents write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def check(self, document: Document) -> Checked:
        """Prune and validate as the API server does before it asks any validating webhook."""
        unknown: list[Problem] = []
        content = _pruned(document, self._schema, "", unknown)
        errors = _in_order(self._validator.iter_errors(content))
        # Each missing field is an error that names all of them.
        problems = dict.fromkeys(problem for error in errors for problem in _problems(error))
        if not any(problem.path.startswith("metadata") for problem in problems):
            problems.update(dict.fromkeys(metadata_problems(content, self._name_form)))
        return Checked(content, tuple(problems), tuple(unknown))

    @cached_property
    def _validator(self) -> Validator:
        # Imported here: it costs more than all the rest of `lint`, and not every input needs it.
        from jsonschema import Draft202012Validator, FormatChecker  # noqa: PLC0415

        formats = FormatChecker(formats=())
        for name, bits in _INTEGER_FORMATS.items():
            formats.checks(name)(lambda value, limit=1 << bits: not isinstance(value, int) or abs(value) < limit)
        return Draft202012Validator(self._schema, format_checker=formats)


class Schemas:
    """Every kind there are rules for, by group and kind.

    A CRD is read when a kind of its name is asked for: most inputs have one or two kinds, and to read all CRDs takes
    longer than to check a document.
    """

    def __init__(self, kinds: Iterable[Kind], crds: Iterable[str] = ()) -> None:
        """`crds` are texts in YAML, of one CRD or more each."""
        self._kinds: dict[tuple[str, str], list[Kind]] = {}
        self._add(kinds)
        self._unread = list(crds)

    @classmethod
    def shipped(cls) -> Self:
        """Our own kinds as shipped, and as much of Kubernetes' own as we read."""
        builtin = (
            Kind("", "v1", kind, namespaced=namespaced, schema=schema, name_form=form)
            for kind, (namespaced, form, schema) in BUILTIN.items()
        )
        files = sorted((MANIFESTS / "crds").glob("*.yaml"))
        return cls(builtin, [file.read_text(encoding="utf-8") for file in files])

    def kinds(self) -> frozenset[str]:
        """Return the kinds of our own groups."""
        self._read_crds("")
        return frozenset(kind for (group, kind), versions in self._kinds.items() if group and versions)

    def versions(self, document: Document) -> list[Kind]:
        """Return the kind of a document in every version that is served; empty for kinds of others."""
        group, kind = str(document.get("apiVersion") or "").rpartition("/")[0], str(document.get("kind"))
        if (group, kind) not in self._kinds:
            self._read_crds(f"kind: {kind}\n")
        return self._kinds.setdefault((group, kind), [])

    def _add(self, kinds: Iterable[Kind]) -> None:
        for kind in kinds:
            self._kinds.setdefault((kind.group, kind.kind), []).append(kind)

    def _read_crds(self, said: str) -> None:
        """Read the CRDs in whose text it says so, in their order."""
        for text in [text for text in self._unread if said in text]:
            self._unread.remove(text)
            self._add(_defined(text))


def _defined(text: str) -> Iterator[Kind]:
    for crd in yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        spec = crd["spec"]
        for version in spec["versions"]:
            if version["served"]:
                yield Kind(
                    spec["group"],
                    version["name"],
                    spec["names"]["kind"],
                    namespaced=spec["scope"] == "Namespaced",
                    schema=version["schema"]["openAPIV3Schema"],
                )


def _pruned(value: Any, schema: Schema, path: str, unknown: list[Problem]) -> Any:
    """Return the value without unknown fields and without nulls the schema does not allow.

    Kubernetes: apiextensions-apiserver pkg/apiserver/schema/pruning and defaulting/prune.go.
    """
    if isinstance(value, list):
        items = schema.get("items", {})
        return [_pruned(item, items, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    known: Mapping[str, Schema] = schema.get("properties", {})
    other = schema.get("additionalProperties")
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or not (known or other)
    kept = {}
    for key, item in value.items():
        here = f"{path}.{key}" if path else key
        inner = known.get(key, other)
        if isinstance(inner, Mapping):
            if item is not None or inner.get("nullable"):
                kept[key] = _pruned(item, inner, here, unknown)
        elif open_ended or inner is True:
            kept[key] = item
        else:
            unknown.append(Problem(here, f"unknown field, the API server drops it{_meant(key, known)}"))
    return kept


def _meant(key: str, known: Iterable[str]) -> str:
    import difflib  # noqa: PLC0415  only for what is misspelt

    close = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _in_order(errors: Iterable[ValidationError]) -> list[ValidationError]:
    """Fields by name, entries of a list by number."""
    return sorted(errors, key=lambda error: [(isinstance(step, str), step) for step in error.absolute_path])


def _problems(error: ValidationError) -> list[Problem]:
    if error.validator != "required":
        return [_problem(error)]
    path = _path(error.absolute_path)
    required: Any = error.validator_value
    value: Any = error.instance
    return [Problem(f"{path}.{name}".lstrip("."), "is required") for name in required if name not in value]


def _problem(error: ValidationError) -> Problem:
    path = _path(error.absolute_path)
    value: Any = error.instance
    rule: Any = error.validator_value
    if "password" in path.lower():
        # Whatever is in such a field may be the password itself, put into the wrong place.
        return Problem(path, f"is not {_type_name(rule)}" if error.validator == "type" else "has no valid value")
    match error.validator:
        case "type":
            return Problem(path, f"{_shown(value)} is not {_type_name(rule)}")
        case "enum":
            return Problem(path, f"{_shown(value)} is unknown; use one of {', '.join(map(str, rule))}")
        case "minimum":
            return Problem(path, f"{_shown(value)} is too small; use {rule} or more")
        case "maximum":
            return Problem(path, f"{_shown(value)} is too large; use {rule} or less")
        case "minItems":
            return Problem(path, "is empty; list at least one" if rule == 1 else f"has fewer than {rule} entries")
        case "maxLength":
            return Problem(path, f"{_shown(value)} has {len(value)} characters; use {rule} at most")
        case "minLength":
            return Problem(path, "is empty; write a value, or remove it")
        case "anyOf":
            ways = [name for alternative in rule for name in alternative.get("required", ())]
            needed = f"needs {' or '.join(ways)}"
            return Problem(path, needed if ways else cut(error.message, limit=_SHOWN_CHARACTERS))
        case "format":
            return Problem(path, f"{_shown(value)} does not fit an {rule}")
        case _:
            return Problem(path, cut(error.message, limit=_SHOWN_CHARACTERS))


def _path(steps: Iterable[str | int]) -> str:
    written = ""
    for step in steps:
        if isinstance(step, int) or "." in step or "/" in step:
            written += f"[{step}]"
        else:
            written += f".{step}"
    return written.lstrip(".")


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _type_name(rule: object) -> str:
    names = {"object": "a mapping", "array": "a list", "string": "a string (quote it)", "integer": "a whole number"}
    return names.get(str(rule), f"a {rule}")
