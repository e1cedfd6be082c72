"""Request handling, independent of a web framework: routes, facts, admission, decisions, replies."""
