"""The pytest plugin and virtual time. Imports nothing, because every test run loads the plugin."""
