"""`pointsman config`: the configuration as it takes effect, and its schema."""
