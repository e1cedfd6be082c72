"""Looking at a running server from outside, as clients meet it, and saying what is wrong and how to mend it."""
