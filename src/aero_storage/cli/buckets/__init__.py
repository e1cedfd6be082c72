"""The images root of the commands below a prefix of a bucket."""
