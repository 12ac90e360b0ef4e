"""The webhook as a WSGI application: HTTP in front, one handler per admission path behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus

from flask import Flask, Response, jsonify, request
from prometheus_client import Counter, Histogram
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge, UnsupportedMediaType

from allocator.process.logs import EventLog
from webhook.review import AdmissionRequest, Answer, MalformedReview, parse, render

log = EventLog("webhook")

Handler = Callable[[AdmissionRequest], Answer]

BODY_LIMIT_BYTES = 4 * 1024 * 1024
"""An UPDATE carries two objects of up to 1.5 MiB each (etcd's limit) and an envelope."""

REQUESTS = Counter("admitlb_admission_requests", "Admission reviews answered.", ["path", "operation", "outcome"])
DURATION = Histogram(
    "admitlb_admission_duration_seconds",
    "Time from a parsed review to its answer.",
    ["path"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0),
)


class NotReady(Exception):
    """A handler cannot decide yet; the API server gets 503 and goes by the webhook's failurePolicy."""


def create_app(handlers: Mapping[str, Handler]) -> Flask:
    """Return the application: POST of an AdmissionReview at each route of `handlers`; GET there says that it is one.

    Who may ask is not judged here: the server lets through what came by a path with a token, as its route.
    What is no AdmissionReview, or none for its handler (MalformedReview), gets a 4xx with a JSON message. A handler
    that raises anything else gets its trace logged and the caller a 500, upon which the API server admits or refuses
    by the webhook's failurePolicy.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT_BYTES
    for path, handler in handlers.items():
        _begin_at_zero(path)
        app.add_url_rule(path, endpoint=path, view_func=_review_view(path, handler), methods=["POST"])
        app.add_url_rule(path, endpoint=f"GET {path}", view_func=_there, methods=["GET"])

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        refusal = _failure(error.code or 500, error.description or error.name)
        if isinstance(error, MethodNotAllowed):
            refusal.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return refusal

    return app


def _there() -> Response:
    """Answer other replicas and our own self-check: this path is answered here."""
    return Response("ok\n", mimetype="text/plain")


def _begin_at_zero(path: str) -> None:
    """A series that begins at 1 has not increased, to Prometheus: the first failure would go unseen."""
    for operation in ("CREATE", "UPDATE", "DELETE"):
        for outcome in ("error", "not_ready"):
            REQUESTS.labels(path, operation, outcome)


def _review_view(path: str, handler: Handler) -> Callable[[], Response]:
    def answer_review() -> Response:
        try:
            asked = replace(parse(_json_body()), received_at=_received_at())
        except MalformedReview as error:
            return _refuse(path, HTTPStatus.BAD_REQUEST, str(error))
        except HTTPException as error:
            return _refuse(path, error.code or HTTPStatus.BAD_REQUEST, error.description or error.name)
        started = time.perf_counter()
        try:
            answer = handler(asked)
            document = jsonify(render(asked.uid, answer))
        except MalformedReview as error:
            return _refuse(path, HTTPStatus.BAD_REQUEST, str(error))
        except NotReady as error:
            REQUESTS.labels(path, asked.operation, "not_ready").inc()
            return _failure(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except Exception:
            REQUESTS.labels(path, asked.operation, "error").inc()
            log.exception("admission.failed", path=path, operation=asked.operation, **_who(asked))
            return _failure(HTTPStatus.INTERNAL_SERVER_ERROR, "the webhook failed to decide; its log says why")
        DURATION.labels(path).observe(time.perf_counter() - started)
        REQUESTS.labels(path, asked.operation, "allowed" if answer.allowed else "denied").inc()
        return document

    return answer_review


def _received_at() -> float | None:
    at: float | None = getattr(request.environ.get("gunicorn.socket"), "received_at", None)
    return at


def _json_body() -> bytes:
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("send the AdmissionReview as application/json")
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        _discard_body()
        raise RequestEntityTooLarge(f"an AdmissionReview is at most {BODY_LIMIT_BYTES} bytes here") from error


def _discard_body() -> None:
    """Read on for a while: a connection closed on a client that still sends loses it the answer."""
    left = 4 * BODY_LIMIT_BYTES
    while left > 0 and (chunk := request.environ["wsgi.input"].read(64 * 1024)):
        left -= len(chunk)


def _refuse(path: str, status: int, message: str) -> Response:
    REQUESTS.labels(path, "", "malformed").inc()
    log.debug("admission.malformed", path=path, status=int(status), error=message)
    return _failure(status, message)


def _failure(status: int, message: str) -> Response:
    response = jsonify(
        {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": message}
    )
    response.status_code = status
    return response


def _who(asked: AdmissionRequest) -> dict[str, str]:
    return {"kind": asked.kind, "namespace": asked.namespace, "name": asked.name, "user": asked.username}
