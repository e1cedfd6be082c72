"""Downloads from registries of packages, npm's and a mirror of Debian, each checked by its digest."""
