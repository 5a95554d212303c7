"""The moving picture of the terminal in the README: `make picture` records a real run and draws it."""
