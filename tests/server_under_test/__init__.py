"""Tests of server_under_test/."""
