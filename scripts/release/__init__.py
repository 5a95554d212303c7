"""`make release`: the built wheel, installed on each Python of this machine, with the tests run against it."""
