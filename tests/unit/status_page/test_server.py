"""The page over HTTP: read-only, one path, and headers that let nothing else in."""

from __future__ import annotations

import base64
import hashlib
import http.client
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from allocator.status_page.picture import Picture, PoolLine
from allocator.status_page.server import StatusPage

_taken: list[int] = []


def take() -> Picture:
    _taken.append(1)
    lines = PoolLine(name="lan", addresses=("192.0.2.0/28",), uses=(), trouble="")
    now = datetime.now(UTC)
    return Picture(at=now, leading=True, problems=(), pools=(lines,), addresses=(), waiting=(), moves=())


@pytest.fixture(scope="module")
def page() -> Iterator[StatusPage]:
    page = StatusPage(0, take)
    page.start()
    yield page
    page.stop()


def ask(page: StatusPage, path: str = "/", method: str = "GET") -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response, response.read().decode()
    finally:
        connection.close()


def test_the_page_is_html_that_nobody_keeps(page: StatusPage) -> None:
    response, body = ask(page)
    assert (response.status, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert response.headers["Cache-Control"] == "no-store"
    assert "<b>lan</b>" in body


def test_the_policy_lets_through_the_pages_own_style_and_nothing_else(page: StatusPage) -> None:
    response, body = ask(page)
    policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
    (style,) = re.findall(r"<style>(.*?)</style>", body, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Referrer-Policy"] == "no-referrer"


def test_headers_tell_neither_python_nor_its_version(page: StatusPage) -> None:
    assert "python" not in ask(page)[0].headers["Server"].lower()


def test_a_head_has_no_body(page: StatusPage) -> None:
    response, body = ask(page, method="HEAD")
    assert (response.status, body) == (200, "")
    assert int(response.headers["Content-Length"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_written(page: StatusPage, method: str) -> None:
    assert ask(page, method=method)[0].status == 501


@pytest.mark.parametrize("path", ["/metrics", "/../etc/passwd", "/index.html"])
def test_there_is_no_other_path(page: StatusPage, path: str) -> None:
    assert ask(page, path)[0].status == 404


def test_the_filter_stands_in_its_field_again(page: StatusPage) -> None:
    assert 'value="&#34;&gt;&lt;b&gt;"' in ask(page, "/?q=%22%3E%3Cb%3E")[1]


def test_many_readers_cost_one_picture_a_second(page: StatusPage) -> None:
    _taken.clear()
    for _ in range(20):
        ask(page)
    assert len(_taken) < 20


def test_a_picture_that_cannot_be_taken_is_an_error_and_the_page_lives_on(page: StatusPage) -> None:
    def fail() -> Picture:
        raise RuntimeError("broken")

    broken = StatusPage(0, fail)
    broken.start()
    try:
        assert ask(broken)[0].status == 500
        assert ask(broken)[0].status == 500
        assert broken.alive
    finally:
        broken.stop()
