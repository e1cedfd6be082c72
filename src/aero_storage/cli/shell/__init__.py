"""What a shell and `man` know of the commands, made from their tables: completions and manual pages."""
