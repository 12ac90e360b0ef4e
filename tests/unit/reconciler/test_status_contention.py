"""How often a status that somebody else keeps writing is written again."""

from __future__ import annotations

from allocator.core.addresses import Address
from allocator.kube.client import Object
from allocator.reconciler.status_contention import StatusContention

OURS = (Address.parse("192.0.2.10"),)


def service(uid: str = "1") -> Object:
    return {"metadata": {"namespace": "default", "name": "web", "uid": uid}}


class Fight:
    """The other writer overwrites every write at once; ours are made as soon as they may be."""

    def __init__(self) -> None:
        self.now = 0.0
        self.contention = StatusContention(lambda: self.now)
        self.writes: list[float] = []

    def go_on_until(self, end: float) -> None:
        while self.now < end:
            pause = self.contention.pause_seconds(service(), OURS)
            if pause:
                self.now += pause
                continue
            self.contention.wrote(service(), OURS)
            self.writes.append(self.now)


def test_what_was_changed_once_is_put_right_at_once() -> None:
    contention = StatusContention(lambda: 0.0)
    contention.wrote(service(), OURS)
    assert contention.overwritten(service(), OURS) == 1
    assert contention.pause_seconds(service(), OURS) == 0.0


def test_a_fight_becomes_ever_slower_down_to_one_write_a_minute() -> None:
    fight = Fight()
    fight.go_on_until(3600)
    assert fight.writes[:5] == [0.0, 0.0, 1.0, 3.0, 8.0]
    assert len(fight.writes) < 70
    assert fight.writes[-1] - fight.writes[-2] == 60.0


def test_another_decision_and_another_service_of_the_name_are_not_held_back() -> None:
    fight = Fight()
    fight.go_on_until(100)
    fight.contention.wrote(service(), OURS)
    assert fight.contention.pause_seconds(service(), OURS) > 0
    assert fight.contention.pause_seconds(service(), (Address.parse("192.0.2.11"),)) == 0.0
    assert fight.contention.pause_seconds(service("2"), OURS) == 0.0


def test_after_ten_quiet_minutes_it_is_forgotten() -> None:
    fight = Fight()
    fight.go_on_until(100)
    fight.now += 601
    assert fight.contention.overwritten(service(), OURS) == 0
