"""Who said it, did enough agree, and how to prove it: signed wire formats, Merkle trees, certificates, rounds."""
