"""What one runs in a terminal."""
