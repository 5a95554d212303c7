"""Programs that measure the library beside what one would use instead: ``make bench``."""
