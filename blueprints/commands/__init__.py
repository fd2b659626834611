"""The `flask` command line: thin like views. Each module's `bp` carries commands instead of routes."""
