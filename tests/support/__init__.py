"""What the tests share: helpers, stand-ins and checks, imported as ``support.<module>``."""
