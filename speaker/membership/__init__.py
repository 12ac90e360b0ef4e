"""Which speakers are alive: heartbeats, Leases, failure detection."""
