"""Contracts that trainers already write, turned into manifests."""
