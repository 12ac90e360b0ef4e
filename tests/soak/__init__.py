"""Speakers whose nodes, cables and API server fail at any moment, and a witness on the wire: `make soak`."""
