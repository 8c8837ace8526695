"""What every published column means: one line each, for the dataset card and the reference of stages."""

from __future__ import annotations

from functools import cache

from stages.edit import LINE_RULES
from stages.normalise import COUNTS
from stages.signals import FIELDS, SIGNALS

_COLUMNS = {
    "id": "Unique and the same in every run: 32 hex digits, or the id that a text source gives.",
    "content": "The text, normalised, edited and masked.",
    "title": "Title of the page.",
    "language": "Main language, ISO 639.",
    "date": "When the page was fetched, ISO 8601, UTC.",
    **FIELDS,
    "toxic_score": "0 to 1, higher is worse.",
    "porn_score": "0 to 1, higher is worse.",
    "fluency_score": "0 to 1, higher is better.",
    "not_ad_score": "0 to 1, higher is better: less advertisement.",
    "url": "Address of the page as recorded.",
    "crawl": "Crawl it comes from, such as CC-MAIN-2024-10; empty where unknown.",
    "warc_path": "File it comes from.",
    "warc_offset": "Where its record starts there, in bytes (Parquet sources: rows).",
    "warc_length": "How long the record is.",
    "source_bytes": "Bytes of the payload as read: the byte measure of the ledger.",
    "truncated": "Why the crawler cut the page (length, time, ...); null when whole.",
    "published": "Date of publication that the page gives.",
    "author": "Author that the page gives; several are parted by semicolons.",
    "site_name": "Name of the site that the page gives.",
    "canonical_url": "Address that the page gives as its own.",
    "declared_language": "Language that the page declares, ISO 639; the one found is in language.",
    "charset": "Character set it was decoded from.",
    "engine": "Extraction engine whose text was taken.",
    "pii_spans": "Where personal data was masked: column, kind, characters before and after masking.",
    "domain": "Subject of the seeds whose queries speak for the document most (a harvest).",
    "queries": "The best queries that take the document: id, rank, fused score, rank and score by each index.",
    "cluster": "Group of documents that repeat each other; null for a document without duplicates.",
    "outcome": "rejected, duplicate or quarantined.",
    "reason": "The rule or cause that turned the document down, with its version.",
    "detail": "The value that failed, or the error.",
    "survivor": "Id of the document that stands for this duplicate.",
    "similarity": "Jaccard similarity to the survivor.",
}
_SIGNALS = {
    "url_invalid": "1 where the recorded URL names no valid host.",
    "replacement_ratio": "Replacement characters / characters after decoding.",
    "extract_confidence": "Expected word F1 of the text, 0 to 1: low where a page has no main text at all.",
    "language_share": "Share of the text in the wanted languages, or in the main one where none is named.",
    "language_score": "The identifier's own number for the main language: cld2's score, fastText's probability.",
    **COUNTS,
    **{rule.signal: f"Lines taken by the line rule {rule.name}. {rule.doc}" for rule in LINE_RULES},
    "unsafe_word_ratio": "Words covered by entries of the word list / words.",
    "unsafe_word_count": "Hits of the word list, repeats included.",
    "pii_email": "E-mail addresses masked.",
    "pii_phone": "Telephone numbers masked.",
    "pii_ip": "IP addresses masked.",
    "pii_payment_card": "Payment card numbers masked.",
    "pii_iban": "IBANs masked.",
    "pii_ssn": "US social security numbers masked.",
    "harvest_queries": "Queries that take the document.",
    "harvest_score": "Highest fused score of any query (reciprocal ranks).",
    "harvest_lexical": "Highest BM25 score of any query, as a share of the highest possible for it.",
    "harvest_dense": "Highest cosine to any query.",
    "contamination_hits": "Different benchmark runs in the text, over all items.",
}


@cache
def column_docs() -> dict[str, str]:
    """Column -> meaning; fields of the struct ``signals`` as ``signals.x``."""
    measured = {name: f"{signal.doc} ({signal.unit})" for name, signal in SIGNALS.items()}
    return _COLUMNS | {f"signals.{name}": doc for name, doc in (_SIGNALS | measured).items()}
