"""Vitrine beside what a shop would write instead, on the same cores."""
