"""Several worker processes under one parent: kept running, their logs joined, their counts summed."""
