"""Worker processes under one parent: supervision, control protocol, joined logs, summed metrics."""
