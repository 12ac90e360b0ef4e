"""The table of everything a user can be told, generated from the code that says it."""
