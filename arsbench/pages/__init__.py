"""Everything that shows an analysis: tables, Markdown, HTML, charts, exchange formats. Never torch."""
