"""From HTML to text: charset, main content, title and date.

``extract_html`` is the face for anyone with a page in hand, ``Extract`` the stage for manifests; the engines behind
both stand in ``engines``.
"""

from stages.extract.engines import MIN_CONFIDENCE, ExtractionLost, UnknownEngineError
from stages.extract.page import Extraction, extract_html
from stages.extract.stage import Extract

__all__ = ["MIN_CONFIDENCE", "Extract", "Extraction", "ExtractionLost", "UnknownEngineError", "extract_html"]
