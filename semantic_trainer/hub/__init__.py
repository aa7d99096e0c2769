"""What goes to the Hub: which files, nothing secret in them, and all of them in one commit."""
