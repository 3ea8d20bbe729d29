"""Tables of studies as files: CSV or Parquet, with a journal while they grow."""
