"""Word error rates, significance, the report."""
