"""`make bench-boot`: how long a Linux takes from power-on to its prompt, over links of several delays."""
