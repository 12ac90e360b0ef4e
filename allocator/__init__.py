"""Address allocation: a pure decision core and the thin shell that acts on its decisions."""
