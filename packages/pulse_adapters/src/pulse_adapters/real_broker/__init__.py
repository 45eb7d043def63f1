"""What the real brokers have in common."""
