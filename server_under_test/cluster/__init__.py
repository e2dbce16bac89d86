"""Fronts on several machines: a router and front machines that speak to each other over Valkey."""
