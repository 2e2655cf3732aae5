"""Tests of the training code; those that need the photos or weights skip and say so."""
