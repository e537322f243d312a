"""The training loop, the device it runs on, and what it saves."""
