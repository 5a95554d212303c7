"""One signed call to ECS: knows nothing of waiting."""
