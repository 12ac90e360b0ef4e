"""BGP whose peers, Services, routers, cables, daemons and speakers change and fail at random: `make soak-bgp`."""
