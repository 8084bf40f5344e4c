"""The authors' published code, as names and numbers: arguments, configurations, conversion."""
