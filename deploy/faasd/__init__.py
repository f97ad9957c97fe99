"""The shop on one server under faasd, from the files that the other homes read."""
