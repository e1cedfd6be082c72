"""Pages of files are brought into the page cache: by a process beside the daemon, or else by its threads."""
