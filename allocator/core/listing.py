"""Lists within messages: the first few, and how many more there are, so that no message grows with the cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

LISTED = 5
MESSAGE_CHARACTERS = 4096
"""What a message to a user has at most; the API server hands warnings on up to the same length."""


def listed(items: Iterable[object], *, limit: int = LISTED, counted: bool = True) -> str:
    """Return `a, b and 3 more`; `a, b and others` where it is not `counted`.

    A count within what is stored would have it written again for each item that comes or goes.
    """
    texts = [str(item) for item in items]
    if len(texts) <= limit:
        return ", ".join(texts)
    return f"{', '.join(texts[:limit])} and {f'{len(texts) - limit} more' if counted else 'others'}"


def each_with_reason(reasons: Sequence[tuple[str, str]], *, limit: int = 2 * LISTED) -> str:
    """Return `a: full; b: closed`; of more than `limit`, the rest is counted by reason."""
    texts = [f"{name}: {reason}" for name, reason in reasons[:limit]]
    rest = Counter(reason for _, reason in reasons[limit:])
    counted = [f"{count} more: {reason}" for reason, count in rest.most_common(LISTED)]
    others = rest.total() - sum(count for _, count in rest.most_common(LISTED))
    return "; ".join([*texts, *counted, *([f"{others} more"] if others else [])])


def one_line(text: str) -> str:
    """Return the text with whatever does not print, line breaks first of all, written as an escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def cut(message: str, *, limit: int = MESSAGE_CHARACTERS) -> str:
    """Return the message, shortened in the middle where it is too long: who and the remedy are at the ends."""
    if len(message) <= limit:
        return message
    tail = limit // 4
    return f"{message[: limit - tail - 1]}…{message[-tail:]}"
