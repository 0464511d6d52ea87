"""A site's training: the user's task, and the thread that runs it."""
