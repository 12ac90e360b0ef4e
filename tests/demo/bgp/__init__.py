"""The second demo: addresses announced by BGP to two routers, beside layer 2."""
