"""The operator: wakes on events, reads what is, asks `archsearch.planning` what is missing, and does it."""
