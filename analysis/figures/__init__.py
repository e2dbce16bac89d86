"""Figures: what records show, as numbers and sentences: fits, findings, doubts, comparisons. No HTML, no pictures."""
