"""Opening a model: ``open_model("phantom")``, and what every opened model can do (:class:`ReportModel`)."""

from __future__ import annotations

from activations.models.opening import open_model

__all__ = ["open_model"]
