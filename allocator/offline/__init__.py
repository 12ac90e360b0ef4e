"""Documents of files replayed as a cluster would take them: for lint and plan."""
