"""A speaker notices by the versions of its own writes that etcd was restored, and takes nothing else for it."""

from __future__ import annotations

from allocator.kube.client import Object
from speaker.status.restoration import RestorationWatch


def at(version: int) -> Object:
    return {"metadata": {"name": "x", "resourceVersion": str(version)}}


def watch() -> tuple[RestorationWatch, list[str]]:
    begun: list[str] = []
    return RestorationWatch(lambda: begun.append("anew")), begun


def test_a_lease_with_a_lower_version_than_before_is_proof() -> None:
    watched, begun = watch()
    for version in (100, 110, 90, 95, 120):
        watched.on_lease(at(version))
    assert begun == ["anew"]


def test_a_lease_that_is_older_than_a_write_before_the_last_one_is_proof_too() -> None:
    watched, begun = watch()
    watched.on_lease(at(100))
    watched.on_written(at(140))
    watched.on_lease(at(150))
    watched.on_written(at(300))
    watched.on_lease(at(160))
    assert begun == []
    watched.on_lease(at(170))
    assert begun == ["anew"]
    watched.on_lease(at(180))
    assert begun == ["anew"]


def test_writes_that_are_answered_in_another_order_than_made_are_none() -> None:
    watched, begun = watch()
    watched.on_lease(at(100))
    watched.on_written(at(112))
    watched.on_lease(at(111))
    watched.on_written(at(105))
    watched.on_lease(at(121))
    assert begun == []
