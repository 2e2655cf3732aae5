"""For the recommender: a Spark job that learns from Vitrine's feature export and a table of interactions. See README.md."""
