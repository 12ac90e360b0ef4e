"""Spreading the announced addresses over the nodes again, when somebody asks for it: the holder stays otherwise."""
