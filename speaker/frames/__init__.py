"""Wire formats: bytes to values and back. No sockets, no policy."""
