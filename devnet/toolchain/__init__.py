"""Where contracts come from: pinned packages fetched into the cache, a compiler, and the artifacts of both."""
