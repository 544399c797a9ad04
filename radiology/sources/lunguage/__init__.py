"""LUNGUAGE: reports as structured rows."""
