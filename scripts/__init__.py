"""Programs that maintainers run: ``make picture``, ``make release``."""
