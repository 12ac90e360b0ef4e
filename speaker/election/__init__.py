"""Which node holds an address, and how it passes from one to another."""
