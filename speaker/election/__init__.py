"""Which node holds an address, and how it passes from one to another.

The rules, which every speaker follows by itself, from what it hears and what others advertise:

1. **Hearing is mutual.** A node's side is itself and everybody linked to it by heartbeats that arrive and say that
   its own arrive, also through others. Who is on the side and serves is alive (`membership`).
2. **The holder stays.** A claim on the side is not contested by candidates of equal handicap and weight. Where there
   is none, the candidates on the side take the address in their order (handicap, weight, rank), each `SKEW_SECONDS`
   after the one before it, so that one that does not know of the address delays it only for that long. Who is not
   heard directly, only by others, may have it: where some candidate hears all the others, those that do not leave
   what seems vacant to it; where none does, a candidate waits for those before it. Before it asks the LAN for what
   nobody had, one that is not the first says for two turns that it is about to (probe wait): the first may be about
   to as well.
   The addresses of a Service have one holder; one that it neither claims nor asks for, because it does not know of
   it yet, is taken apart by the other candidates, whose turns come after the holder's (`Claim.apart`). It is the
   holder's as soon as that claims it.
3. **Two claims meet: one holds** (`election.Precedence`): that of the larger side during the cut; at a tie the one
   whose term is lower, which is the holder before the cut; then the rank. A side counts who has been on it for five
   seconds, so that for five seconds after a cut both sides count as they did during it. Once the other has stopped,
   the holder announces again, whether or not it ever heard the other's claim: what a node states names every address
   that it has ceased to claim since the receiver heard from it (`membership.state_sync`).
   Two holders that do not hear each other have their claims compared by whoever hears both, a candidate or not: a
   turn later it names the one that holds (`AdvertisedState.named`), and goes on for as long as some candidate does
   not hear that one. The other gives way, and takes nothing of which a holder is named that it does not hear.
4. **A restarted process claims nothing**, and one that paused for so long that others may have taken over counts
   for nothing where its claims meet others.
5. **Who is cut off holds nothing that another can serve**: a node that hears nobody while the Leases of others are
   renewed and say that those hear somebody, for five seconds; and a node that hears others that do not hear it, if
   theirs is no smaller side, from those whom these hear so, too (`membership.one_way`). Where that leads back to a
   node, each would be cut off from the next, and the first of them in order is not. Which others can serve differs
   from address to address, so this is decided among its candidates: where all of them hear nobody, whatever the other
   nodes hear, heartbeats are blocked at all candidates (a firewall on the workers), and none is cut off from another.
   Then a Lease speaks for a candidate, if its node's kernel answers, and they are ranked without regard to claims.
   Only time in which this node sees its own Lease renewed counts against another's: while the API server is away,
   nothing moves. Who was cut off until now takes nothing for two turns: it may hear the holder later than others.
6. **Only an interface that could carry the address has a say** (`reach`). One on whose LAN other nodes hear each
   other, and not this one, counts as lost though its carrier is up (`membership.lans`). Who hears nobody after it
   has got a link back takes nothing for a while: the others may only not be heard yet.
7. **Moves for better nodes**: at once where the holder has a handicap that a candidate has not; where a candidate is
   preferred, once it has been on the side and Ready for ten seconds; once for each address while a whole cluster
   boots (`Claim.offered`).

`transitions.TRANSITIONS` is the life of one address on one node, `holder.Holder` walks it.
"""
