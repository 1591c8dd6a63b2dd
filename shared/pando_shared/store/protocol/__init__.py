"""What every store can do, by what it is about; `Store` is all of it together."""
