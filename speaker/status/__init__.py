"""Reporting to the API who announces what."""
