"""The wire: what requests may say (strict) and what answers hold."""
