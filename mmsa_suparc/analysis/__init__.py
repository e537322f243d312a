"""Pictures made from what a run left on disk; never from a run in progress."""
