"""The BGP driver on real FRR daemons, 8.4 and 10.3, with BIRD and FRR as routers."""
