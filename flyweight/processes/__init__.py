"""Processes of this project: how they are started, exchange messages, and end together with the process that started
them.
"""
