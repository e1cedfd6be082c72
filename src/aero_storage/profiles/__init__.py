"""Boot profiles: the units that guests of an image read first, learned from request logs (http.md §15). Pure."""
