"""From assessments to what is signed and shown: leaves, the report, and the attestation that a stranger checks."""
