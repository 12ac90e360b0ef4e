"""BGP as values: what a node announces to which peers, and FRR's configuration of that; no I/O."""
