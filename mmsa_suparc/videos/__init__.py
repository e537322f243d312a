"""Clips to features, and MMSA-FET from outside."""
