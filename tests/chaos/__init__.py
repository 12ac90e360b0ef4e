"""Many clients that change their minds, components that die at any moment, and a witness of what may never be."""
