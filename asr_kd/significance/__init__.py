"""What a difference in errors is worth: pure functions on counts by unit."""
