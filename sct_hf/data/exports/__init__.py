"""Readers of exports of labelling tools."""
