"""Example tasks, and the data that the demonstration deals out to its sites."""
