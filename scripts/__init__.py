"""Training code of Vitrine: photos and labels in, a model bundle (`models/<name>/`) out. See README.md."""
