"""The dashboard as an app: ``serve`` shows a run on this machine until it is stopped."""
