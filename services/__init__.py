"""What the product does: modules of functions that know no request, no status code and no HTML."""
