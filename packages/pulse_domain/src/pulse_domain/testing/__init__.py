"""Doubles and contract suites, shipped so that teams who embed the domain can use them.

Each double behaves as the real adapter does: it passes the same contract suite.
"""
