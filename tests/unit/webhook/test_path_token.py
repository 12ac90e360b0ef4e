"""The path secret through its life: made, followed by another, lost, written by hand, dropped."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from webhook.path_token import FORMER_FIELD, MADE_FIELD, PATH_SECRET_FIELD, PathSecrets, mend_path_secrets

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
OLD, OLDER = b"o" * 64, b"p" * 64


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def test_a_secret_is_made_where_there_is_none_and_then_found_right() -> None:
    made, flaw = mend_path_secrets({}, now=NOW)
    assert flaw is not None
    assert len(made.current) >= 32
    assert made.former == ()
    assert mend_path_secrets(made.secret_data(), now=NOW + DAY) == (made, None)
    assert mend_path_secrets({}, now=NOW)[0].current != made.current


def test_an_old_one_is_followed_by_a_new_one_that_is_answered_beside_it() -> None:
    stored = PathSecrets(OLD, NOW)
    assert mend_path_secrets(stored.secret_data(), now=NOW + 90 * DAY) == (stored, None)
    followed, flaw = mend_path_secrets(stored.secret_data(), now=NOW + 91 * DAY)
    assert flaw is not None
    assert followed.former == (OLD,)
    assert followed.newest_first() == (followed.current, OLD)


def test_the_former_one_stays_until_settled_however_long_that_takes() -> None:
    stored = PathSecrets(OLD, NOW, (OLDER,))
    assert mend_path_secrets(stored.secret_data(), now=NOW + 400 * DAY) == (stored, None)
    dropped, flaw = mend_path_secrets(stored.secret_data(), now=NOW + DAY, settled=True)
    assert (dropped, flaw is None) == (PathSecrets(OLD, NOW), False)


def test_a_key_taken_out_of_the_secret_is_followed_as_by_age() -> None:
    known = PathSecrets(OLD, NOW, (OLDER,))
    lost = {**known.secret_data()}
    del lost[PATH_SECRET_FIELD]
    mended, _ = mend_path_secrets(lost, now=NOW + DAY, known=known)
    assert mended.current not in (OLD, OLDER)
    assert mended.former == (OLD, OLDER)
    # A replica that has only just started knows nothing but the Secret.
    assert mend_path_secrets(lost, now=NOW + DAY)[0].former == (OLDER,)


def test_a_secret_written_by_hand_is_used_and_the_known_one_answered_beside_it() -> None:
    known = PathSecrets(OLD, NOW)
    by_hand = known.secret_data() | {PATH_SECRET_FIELD: encoded(OLDER)}
    mended, flaw = mend_path_secrets(by_hand, now=NOW + DAY, known=known)
    assert flaw is not None
    assert (mended.current, mended.former) == (OLDER, (OLD,))
    assert mend_path_secrets(mended.secret_data(), now=NOW + DAY, known=mended) == (mended, None)


def test_a_replica_that_missed_a_whole_rotation_does_not_bring_the_dropped_secret_back() -> None:
    stored = PathSecrets(OLDER, NOW + DAY)
    assert mend_path_secrets(stored.secret_data(), now=NOW + 2 * DAY, known=PathSecrets(OLD, NOW)) == (stored, None)


@pytest.mark.parametrize("value", [b"", b"short", b"x" * 31])
def test_what_is_too_short_to_be_a_secret_is_none(value: bytes) -> None:
    stored = PathSecrets(OLD, NOW).secret_data() | {PATH_SECRET_FIELD: encoded(value)}
    assert len(mend_path_secrets(stored, now=NOW)[0].current) >= 32


@pytest.mark.parametrize("made", ["", "yesterday", "2026-02-01T00:00:00Z", "!"])
def test_a_secret_without_a_time_of_the_past_is_kept_and_its_life_begins_now(made: str) -> None:
    stored = PathSecrets(OLD, NOW).secret_data() | {MADE_FIELD: encoded(made.encode())}
    assert mend_path_secrets(stored, now=NOW)[0] == PathSecrets(OLD, NOW)


def test_damaged_former_secrets_are_passed_over() -> None:
    stored = PathSecrets(OLD, NOW).secret_data() | {FORMER_FIELD: encoded(b"!!\n" + base64.b64encode(OLDER) + b"\n")}
    assert mend_path_secrets(stored, now=NOW)[0].former == (OLDER,)


def test_no_secret_shows_in_its_representation() -> None:
    assert "ooo" not in repr(PathSecrets(OLD, NOW, (OLD,)))
