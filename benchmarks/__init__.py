"""Speed, always relative to a peer that is timed in the same run; `make bench`."""
