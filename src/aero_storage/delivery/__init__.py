"""What happens to a request, knowing no web framework."""
