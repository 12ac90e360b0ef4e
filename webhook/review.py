"""AdmissionReview `admission.k8s.io/v1` in and out: the request as a value, the answer as a document."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from allocator.objects.numbers import whole_number

Object = dict[str, Any]

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"
OPERATIONS = ("CREATE", "UPDATE", "DELETE", "CONNECT")

# The API server passes warnings on as they are up to this many characters in all, and beyond it cuts each to
# WARNING_CHARACTERS (k8s.io/apiserver/pkg/endpoints/filters/warning.go). Cutting here keeps the end legible.
WARNINGS_TOTAL_CHARACTERS = 4096
WARNING_CHARACTERS = 256

_REASONS = {
    400: "BadRequest",
    403: "Forbidden",
    409: "Conflict",
    422: "Invalid",
    500: "InternalError",
    503: "ServiceUnavailable",
}
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class MalformedReview(Exception):
    """The body is no AdmissionReview that could be answered: `field` is where, `problem` what is wrong there."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRequest:
    """What the API server asks: may `operation` turn `old_object` into `object`?

    `name` is empty on a CREATE by generateName, `namespace` on cluster-scoped objects, `subresource` on the
    object itself. `object` is None on DELETE, `old_object` on CREATE. `kind` and `resource` are bare
    (`Service`, `services`), their group is `group` (empty for the core group).
    """

    uid: str
    operation: str
    group: str = ""
    kind: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    object: Object | None = None
    old_object: Object | None = None
    dry_run: bool = False
    username: str = ""
    field_manager: str = ""
    """Who the client says it is in `metadata.managedFields`; empty where it does not."""
    received_at: float | None = field(default=None, compare=False)
    """When it was here as a whole, monotonic: it may have waited for a thread since. None where nobody noted it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API server is answered; `code` and `message` reach the user on denial, `warnings` always.

    `patch` holds RFC 6902 operations, applied only if `allowed`.
    """

    allowed: bool = True
    code: int = 200
    message: str = ""
    warnings: tuple[str, ...] = ()
    patch: tuple[Object, ...] = ()


def parse(body: bytes) -> AdmissionRequest:
    """Return the request in an AdmissionReview body. Raises MalformedReview, whatever the bytes are."""
    try:
        document = _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise MalformedReview("", f"the body is not JSON: {error}") from error
    review = _mapping(document, "the document")
    _expect(review, "apiVersion", API_VERSION)
    _expect(review, "kind", KIND)
    return _request(_mapping(review.get("request"), "request"))


def render(uid: str, answer: Answer) -> Object:
    """Return the AdmissionReview document that gives `answer` to the request `uid`."""
    response: Object = {"uid": uid, "allowed": answer.allowed}
    if not answer.allowed:
        response["status"] = {"status": "Failure", "code": answer.code, "message": answer.message}
        if answer.code in _REASONS:
            response["status"]["reason"] = _REASONS[answer.code]
    elif answer.patch:
        patch = json.dumps(answer.patch, separators=(",", ":")).encode()
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(patch).decode("ascii")
    warnings = fit_warnings(answer.warnings)
    if warnings:
        response["warnings"] = list(warnings)
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}


def fit_warnings(warnings: Sequence[str]) -> tuple[str, ...]:
    """Return `warnings` as the API server can pass them on: one line each, no control characters, none empty.

    When they are too long together, each is cut to WARNING_CHARACTERS, and of those that still do not fit a
    last one says how many were left out.
    """
    lines = tuple(line for line in (_one_line(warning) for warning in warnings) if line)
    if sum(map(len, lines)) <= WARNINGS_TOTAL_CHARACTERS:
        return lines
    short = tuple(line if len(line) <= WARNING_CHARACTERS else _cut(line) for line in lines)
    if sum(map(len, short)) <= WARNINGS_TOTAL_CHARACTERS:
        return short
    kept = short[: WARNINGS_TOTAL_CHARACTERS // WARNING_CHARACTERS - 1]
    return (*kept, f"{len(short) - len(kept)} more warnings left out")


def _request(request: Object) -> AdmissionRequest:
    kind = _mapping(request.get("kind"), "request.kind")
    resource = _mapping(request.get("resource"), "request.resource")
    operation = _text(request, "operation", "request.operation", required=True)
    if operation not in OPERATIONS:
        raise MalformedReview("request.operation", f"{operation!r} is none of {', '.join(OPERATIONS)}")
    user = _optional_mapping(request, "userInfo", "request.userInfo") or {}
    options = _optional_mapping(request, "options", "request.options") or {}
    parsed = AdmissionRequest(
        uid=_text(request, "uid", "request.uid", required=True),
        operation=operation,
        group=_text(kind, "group", "request.kind.group"),
        kind=_text(kind, "kind", "request.kind.kind", required=True),
        resource=_text(resource, "resource", "request.resource.resource", required=True),
        subresource=_text(request, "subResource", "request.subResource"),
        namespace=_text(request, "namespace", "request.namespace"),
        name=_text(request, "name", "request.name"),
        object=_optional_mapping(request, "object", "request.object"),
        old_object=_optional_mapping(request, "oldObject", "request.oldObject"),
        dry_run=_flag(request, "dryRun", "request.dryRun"),
        username=_text(user, "username", "request.userInfo.username"),
        field_manager=_text(options, "fieldManager", "request.options.fieldManager"),
    )
    if operation in ("CREATE", "UPDATE") and parsed.object is None:
        raise MalformedReview("request.object", f"missing, but {operation} needs it")
    if operation in ("UPDATE", "DELETE") and parsed.old_object is None:
        raise MalformedReview("request.oldObject", f"missing, but {operation} needs it")
    return parsed


def _expect(document: Object, field: str, value: str) -> None:
    if document.get(field) != value:
        raise MalformedReview(field, f"expected {value!r}, found {_shown(document.get(field))}")


def _mapping(value: object, field: str) -> Object:
    if not isinstance(value, dict):
        raise MalformedReview(field, f"expected a JSON object, found {_shown(value)}")
    return value


def _optional_mapping(document: Object, key: str, field: str) -> Object | None:
    value = document.get(key)
    return None if value is None else _mapping(value, field)


def _text(document: Object, key: str, field: str, *, required: bool = False) -> str:
    value = document.get(key)
    if value is None:
        value = ""
    if not isinstance(value, str):
        raise MalformedReview(field, f"expected a string, found {_shown(value)}")
    if required and not value:
        raise MalformedReview(field, "missing or empty")
    return value


def _flag(document: Object, key: str, field: str) -> bool:
    value = document.get(key)
    if value is not None and not isinstance(value, bool):
        raise MalformedReview(field, f"expected true or false, found {_shown(value)}")
    return bool(value)


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else f"{value[:40]}…")
    return {dict: "an object", list: "a list", bool: "a truth value"}.get(type(value), "a number")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_int=whole_number)


def _one_line(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text).strip()


def _cut(line: str) -> str:
    return f"{line[: WARNING_CHARACTERS - 1].rstrip()}…"
