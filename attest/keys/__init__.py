"""An operator's keys, the files they rest in, and the guard that keeps a key from signing twice."""
