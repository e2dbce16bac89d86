"""Columns and readiness instead of an object and a task per connection: what both ends of a connection share."""
