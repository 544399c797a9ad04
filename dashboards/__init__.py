"""The feature browser: reads a run directory and shows it as one HTML file that works offline.

``dashboards.export.export_html`` writes the file, ``dashboards.serve.serve`` shows it on this machine.
"""
