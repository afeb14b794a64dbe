"""Specialists (Hinton, Vinyals and Dean 2015, section 5): sets of confusable senones, networks, inference."""
