"""What is signed and checked, byte by byte: headers, leaves, commitments, certificates, committees, quorums."""
