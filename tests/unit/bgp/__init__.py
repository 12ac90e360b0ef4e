"""BGP: what is decided, and what FRR is told."""
