"""A small bilingual bookshop that ships with the package."""
