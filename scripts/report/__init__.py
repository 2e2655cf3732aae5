"""The report on a bundle: one HTML file with everything in it."""
