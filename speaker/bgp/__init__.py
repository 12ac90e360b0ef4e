"""Carrying out BGP by the FRR daemons of this node."""
