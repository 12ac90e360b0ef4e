"""The kernel's side: interfaces, link state, sockets and their filters, the event loop."""
