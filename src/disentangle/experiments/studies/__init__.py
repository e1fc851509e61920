"""Runs that belong together: trained side by side, compared, written as tables and drawn."""
