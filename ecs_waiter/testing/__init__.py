"""Tests without waiting: the pytest plugin and virtual time. Imports nothing, for every test run loads the plugin."""
