"""The report of a recipe: figures for programs, text, pictures and a page for people."""
