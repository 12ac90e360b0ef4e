"""BGP by FRR: which prefixes this node announces to which routers, and the FRR daemons that do it."""
