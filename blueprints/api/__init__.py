"""The JSON API, version 1: two-line views under /api/v1."""
