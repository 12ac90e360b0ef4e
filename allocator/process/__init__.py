"""What every process has: logs, the monitoring port, packages imported late."""
