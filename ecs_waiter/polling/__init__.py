"""Who is asked about when: knows nothing of HTTP."""
