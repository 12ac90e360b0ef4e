"""What one node has to say of one address, and how much of it the API is known to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from allocator.kube.reflector import Key
from speaker.status.facts import Announced, Asked, Elsewhere, Fact, Unannounced
from speaker.status.statement import RELEASED, Contested, Holder, NoHolder, Statement, statement_of


@dataclass(slots=True, kw_only=True)
class ReportedAddress:
    """The facts about an address, one for each Service that has it. Guarded by its owner's lock.

    `told` is what its IPAllocation says as far as is known: None as soon as another node may have said otherwise.
    `named` is whether this node may be named there as its announcer. `new` is whether the address was asked
    for before it was announced: then nobody announced it before. `edits` counts what was taken in.
    """

    node: str
    facts: dict[Key, Fact] = field(default_factory=dict)
    contested: Contested | None = None
    told: Statement | None = None
    named: bool = False
    new: bool = False
    edits: int = 0
    _since: str = ""

    def take(self, service: Key, fact: Fact | None, *, now: str) -> None:
        """Take in a fact about one Service; one that is as before is a request to compare with the API anew."""
        self.edits += 1
        held, before = self.announced, self.facts.get(service)
        same = fact is not None and fact == before
        if fact is None:
            self.facts.pop(service, None)
        else:
            self.facts[service] = fact
        if held != self.announced:
            self._since = now
            self.new = isinstance(before, Asked)
        if same or held != self.announced:
            self.told = None
        if not any(isinstance(each, Announced | Asked) for each in self.facts.values()):
            self.contested = None

    def contest(self, contested: Contested) -> None:
        """Take in that another host claims it, or no longer does."""
        self.edits += 1
        self.contested = contested

    @property
    def announced(self) -> bool:
        """Whether this node announces it."""
        return any(isinstance(fact, Announced) for fact in self.facts.values())

    @property
    def own(self) -> bool:
        """Whether it is for this node to say before any other: not where it only names the one that announces it."""
        elsewhere = any(isinstance(fact, Elsewhere) for fact in self.facts.values())
        return self.announced or (self.named and not elsewhere)

    @property
    def since(self) -> str:
        """Since when this node announces it, or does not."""
        return self._since

    @property
    def statement(self) -> Statement:
        """What is to be said."""
        if self.named and not self.facts:
            return Statement(announcement=RELEASED)
        return statement_of(self.node, self.facts, self.contested, since=self._since)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to say, nor to take back."""
        return not self.facts and not self.named

    @property
    def unannounced(self) -> dict[Key, Unannounced]:
        """The Services whose users are to hear why nobody announces it, but for what was reported at once."""
        return {key: fact for key, fact in self.facts.items() if isinstance(fact, Unannounced) and not fact.own}

    def is_to_tell(self, *, speaks_for_all: Callable[[], bool]) -> bool:
        """Return whether the API is to be asked. What all nodes know is for who is named, or who `speaks_for_all`."""
        say = self.statement
        if say in (self.told, Statement()):
            return False
        if say.contested is not None:
            return True
        match say.announcement:
            case Holder(node=node):
                return self.named or node == self.node
            case NoHolder(own=own):
                return self.named or (own and bool(self.facts)) or speaks_for_all()
        return False

    def note_told(self, said: Statement, *, edits: int) -> None:
        """The API says this as of now; `edits` is what had been taken in when it was found out."""
        self.new = False
        if edits == self.edits:
            self.told = said
            self.named = isinstance(said.announcement, Holder) and said.announcement.node == self.node
