"""Examples of catalogs that keep a copy of what the service knows."""
