"""How chains are opened, and what is remembered of their endpoints."""
