"""Shapes of what comes in and what goes out: every rule about a value's form stands here, once."""
