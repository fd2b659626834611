"""The porch: how every request comes in and every answer goes out."""
