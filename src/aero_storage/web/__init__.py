"""The coats over the decisions: Klein and the HTTP channel."""
